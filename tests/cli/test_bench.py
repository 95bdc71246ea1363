"""`poets bench`: a profile that adds up, a forecast that follows from it, nothing left behind."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.commands.bench import describe_forecast, print_profile, share_cells
from orchestrator.benchmark import profile, timed_processes
from orchestrator.benchmark.profile import STAGES, BenchRequest, Profile
from orchestrator.dataset.scan import Sample
from tests.builders.backbones import ARCHITECTURE
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.programs import invoke
from workers.errors import BrokerError
from workers.processes.capacity import default_concurrency

# The supervisor of a stack outlives the call that starts it, on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
TINY = ("--architecture", ARCHITECTURE, "--weights", "random-0")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    for name in ("_ALONE_S", "_TOGETHER_S"):
        monkeypatch.setattr(profile, name, 0.5)


def measured(*arguments):
    result = invoke("bench", *arguments, *TINY, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def made_profile(**changes):
    """4,000 us an image, in two processes."""
    alone = dict.fromkeys(STAGES, 450e-6)
    together = {stage: (n + 1) * 4000e-6 / 36 for n, stage in enumerate(STAGES)}
    sample = Sample("/photos", (), 925, 62_000.0, True)
    profile = Profile(BenchRequest(None, ARCHITECTURE), sample, 400, {}, 2, 512, alone, together)
    return replace(profile, **changes).to_json()


@pytest.mark.stack
def test_a_profile_adds_up_and_leaves_nothing_behind(ready_storage, tmp_path):
    folder = make_data_set(tmp_path / "photos", per_label=20)
    (folder / "red" / "broken.jpg").write_text("no image")
    before = sorted(ready_storage.root.rglob("*"))

    found = measured(folder, "--images", 5000, "--machines", 3)

    assert found["images"] == found["sample"] == 41
    assert found["unreadable"] == 1
    assert found["reasons"] == {"not an image: no known format": 1}
    assert [stage["stage"] for stage in found["stages"]] == list(STAGES)
    assert sum(stage["share"] for stage in found["stages"]) == pytest.approx(1)
    assert all(stage["all_processes_us"] > 0 for stage in found["stages"])
    assert found["processes"] == default_concurrency("auto").value
    assert found["batch_size"] == 72
    whole = sum(stage["all_processes_us"] for stage in found["stages"])
    rate = found["images_per_second"]["all_processes"]
    assert rate == pytest.approx(found["processes"] * 1e6 / whole, rel=0.01)
    forecast = found["forecast"]
    assert forecast["seconds"] == pytest.approx(5000 / rate, rel=0.01)
    assert forecast["seconds_with_machines"] == pytest.approx(forecast["seconds"] / 3, rel=0.01)
    assert sorted(ready_storage.root.rglob("*")) == before


@pytest.mark.stack
@pytest.mark.data
def test_real_and_awkward_photographs(ready_storage, data, monkeypatch):
    # Long enough for all of them, however busy the machine is.
    monkeypatch.setattr(profile, "_ALONE_S", 120)

    found = measured(data / "awkward")

    assert 15 < found["unreadable"] < found["sample"] == found["images"]
    assert sum(found["reasons"].values()) == found["unreadable"]


@pytest.mark.data
@pytest.mark.stack
def test_the_sample_is_bounded(ready_storage, data):
    found = measured(data / "flowers")

    assert found["images"] == 925
    # What half a second is enough for.
    assert 0 < found["sample"] <= 400
    assert found["unreadable"] == 0


def test_a_folder_that_is_missing_empty_or_has_no_photograph_is_an_error(ready_storage, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jpg").write_text("text")
    (tmp_path / "empty").mkdir()

    for name, reason in [
        ("missing", "There is no folder"),
        ("empty", "There are no images in"),
        ("text", "No image can be measured, of 1 that were tried: not an image: no known format."),
    ]:
        result = invoke("bench", tmp_path / name, *TINY)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert result.stdout == ""


def test_a_folder_that_kills_every_process_is_an_error(
    poison, ready_storage, tmp_path, monkeypatch
):
    monkeypatch.setattr(timed_processes, "_MOST_DEATHS", 2)
    for number in range(30):
        make_picture(tmp_path / "photos" / str(number) / "aborts.jpg", (9, 99, 200), number)

    result = invoke("bench", tmp_path / "photos", *TINY)

    assert result.exit_code == 1
    assert "of 2 that were tried: killed the process that read it (SIGABRT)" in result.stderr


def test_an_unknown_architecture_is_refused_before_anything_else(tmp_path):
    result = invoke("bench", tmp_path / "missing", "--architecture", "mobilnet")

    assert result.exit_code == 2
    assert "mobilnet" in result.stderr


@pytest.mark.stack
def test_without_a_server_the_rest_is_measured(ready_storage, tmp_path, monkeypatch):
    def none(_):
        raise BrokerError("There is no Valkey or Redis server for this machine.")

    monkeypatch.setattr(profile, "time_queue", none)

    found = measured(make_data_set(tmp_path / "photos"))

    assert found["queue_error"] == "There is no Valkey or Redis server for this machine."
    assert found["images_per_second"]["all_processes"] > 0


@pytest.mark.parametrize(
    ("images", "machines", "sentence"),
    [
        (1_000_000, 4, "1,000,000 like these: 33 minutes on this machine, 4 machines: 8.3"),
        (1_000_000, 1, "1,000,000 like these: 33 minutes on this machine"),
        (5_000_000, 4, "5,000,000 like these: 2.8 hours on this machine, 4 machines: 42 minutes"),
        (500, 2, "500 like these: 1.0 seconds on this machine, 2 machines: 0.5"),
        (10**9, 1, "1,000,000,000 like these: 23 days on this machine"),
    ],
)
def test_the_forecast_in_words(images, machines, sentence):
    request = BenchRequest(None, ARCHITECTURE, images=images, machines=machines)

    assert describe_forecast(**made_profile(request=request)["forecast"]) == sentence


def test_text_without_colours_where_there_is_no_terminal(capsys):
    print_profile(made_profile(reasons={"empty file": 2}))

    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "2 of them cannot be read: empty file (2)" in text
    assert "400 of them tried" in text
    for stage in STAGES:
        assert f"\n{stage} " in text
    assert text.endswith("4 machines: 8.3\n")


def test_colours_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")

    print_profile(made_profile())

    assert "\x1b[" in capsys.readouterr().out


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=8).filter(lambda a: sum(a) > 0.1),
    st.integers(0, 200),
)
def test_the_cells_of_a_bar_add_up_and_are_fair(amounts, cells):
    shares = share_cells(amounts, cells)

    assert sum(shares) == cells
    for share, amount in zip(shares, amounts, strict=True):
        assert abs(share - amount * cells / sum(amounts)) < 1.0001
