"""A storage that an earlier version wrote: today's version reads all of it, and works with it.

`tests/data/README.md` says how it was made, by commit cb8a25b. Nothing in it is edited: its
photographs are named by the working folder of whoever reads it.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from orchestrator.driving.result import read_result
from tests.builders.backbones import TINY
from tests.builders.runs import make_run
from tests.builders.workers import work_in_thread
from workers.heads.model_folder import load_model, read_card
from workers.labelling import classify_files
from workers.storage.layout import Storage
from workers.storage.making import use_storage
from workers.storage.plan import Run, read_plan
from workers.storage.root import storage_id

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its photographs are below /proc")

TAR = Path(__file__).parent / "data" / "storage-cb8a25b.tar.gz"
STATES = {
    "colours": "finished",
    "colours-again": "finished",
    "colours-sweep": "finished",
    "colours-sweep.001": "finished",
    "colours-sweep.002": "finished",
    "interrupted": "stopped",
    "labels": "finished",
    "spoilt": "finished",
    "stopped": "stopped",
    "stopped-labels": "stopped",
}
FINISHED = [name for name, state in STATES.items() if state == "finished"]
TRAINED = [name for name in FINISHED if name != "labels"]
COLOURS = ["blue", "green", "red"]


@pytest.fixture
def earlier(tmp_path, monkeypatch) -> Storage:
    (tmp_path / "earlier").mkdir()
    # Not by Python: its filters for archives are younger than some 3.11.
    subprocess.run(["tar", "-xzf", TAR, "-C", tmp_path / "earlier"], check=True)
    monkeypatch.chdir(tmp_path / "earlier")
    monkeypatch.setenv("POETS_STORAGE", str(tmp_path / "earlier" / "storage"))
    return Storage(tmp_path / "earlier" / "storage")


@pytest.fixture
def taken(broker_url):
    """A worker; the messages that it has taken."""
    with work_in_thread(broker_url) as taken:
        yield taken


def poets(*arguments):
    """Return what a command prints, as JSON."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stamp_shards(storage):
    """Return when each shard of bottlenecks was written."""
    return {path: path.stat().st_mtime_ns for path in storage.root.glob("bottlenecks/*/*/*.arrow")}


def test_every_run_is_listed_with_its_state(earlier):
    runs = {run["run"]: run for run in poets("runs")}

    assert {name: run["state"] for name, run in runs.items()} == STATES
    for name in ("stopped", "stopped-labels"):
        assert 0 < runs[name]["batches_done"] < runs[name]["batches"] == 3


@pytest.mark.parametrize("name", FINISHED)
def test_a_result_is_read_with_its_figures(earlier, name):
    written = json.loads(earlier.run(name).result.read_bytes())

    shown = poets("show", name)["result"]

    if name in TRAINED:
        # Where the files are now: the storage was moved.
        assert shown.pop("model") == str(earlier.run(name).model)
        assert shown.pop("report") == str(earlier.run(name).report)
        written.pop("model"), written.pop("report")
    assert shown == written


@pytest.mark.parametrize("name", TRAINED)
def test_the_card_of_a_model_is_read_with_its_figures(earlier, name):
    written = json.loads((earlier.run(name).model / "model.json").read_bytes())

    card = read_card(earlier.run(name).model)

    assert card.name == written["name"] == name
    assert list(card.labels) == written["labels"]
    assert (card.counts, card.metrics, card.versions) == (
        written["counts"],
        written["metrics"],
        written["versions"],
    )


@pytest.mark.parametrize("name", STATES)
def test_a_plan_is_read_and_would_be_written_the_same(earlier, name):
    folder = earlier.run(name)

    assert read_plan(folder).to_json() == folder.plan.read_bytes()


def test_what_only_reads_leaves_it_as_it_is_and_what_writes_marks_it(earlier, taken):
    before = sorted(earlier.root.rglob("*"))
    for command in (("runs",), ("show", "colours"), ("quarantine", "spoilt"), ("doctor",)):
        CliRunner().invoke(main, command)
    assert sorted(earlier.root.rglob("*")) == before

    poets("cancel", "stopped")

    assert storage_id(earlier.root)


def test_a_stopped_training_run_is_resumed_with_what_it_had_computed(earlier, taken):
    before = stamp_shards(earlier)

    result = poets("resume", "stopped")

    assert (result["images"], result["computed"], result["lost"]) == (12, 12, 0)
    assert taken == [("poets.compute_batch", ["stopped", 1]), ("poets.train_head", ["stopped"])]
    after = stamp_shards(earlier)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert poets("show", "stopped")["state"] == "finished"


def test_an_interrupted_gradient_descent_is_resumed_and_gives_the_same_head(earlier, taken):
    undisturbed, run = earlier.run("colours"), earlier.run("interrupted")
    before = run.steps.read_text()

    result = poets("resume", "interrupted")

    assert (result["cached"], result["lost"]) == (24, 0)
    assert [name for name, _ in taken] == ["poets.train_head"]
    found, expected = load_model(run.model), load_model(undisturbed.model)
    np.testing.assert_allclose(found.head.weights, expected.head.weights, atol=1e-3)
    assert not run.checkpoint.exists()
    if np.__version__ == expected.card.versions["numpy"]:
        # A checkpoint counts for the NumPy that wrote it: another may draw other batches.
        assert run.steps.read_text().startswith(before)


def test_a_stopped_labelling_job_is_resumed_with_what_it_had_labelled(earlier, taken):
    result = poets("resume", "stopped-labels")

    assert (result["images"], result["ok"], result["failed"]) == (6, 6, 0)
    assert [arguments for _, arguments in taken] == [["stopped-labels", 0], ["stopped-labels", 2]]
    rows = read_rows("stopped-labels.csv")
    assert [row["path"] for row in rows] == [f"{number:03d}.jpg" for number in range(6)]
    assert [row["label"] for row in rows] == COLOURS + COLOURS


def test_a_finished_model_labels_a_folder(earlier, taken):
    result = poets("classify-dir", "photos", "--model", "colours", "-o", "again.csv", "--top-k", 2)

    assert (result["ok"], [arguments for _, arguments in taken]) == (24, [["photos-labels-1", 0]])
    rows, earlier_rows = read_rows("again.csv"), read_rows("labels.csv")
    for row, earlier_row in zip(rows, earlier_rows, strict=True):
        for column in ("score", "score_2"):
            found, written = float(row.pop(column)), float(earlier_row.pop(column))
            assert found == pytest.approx(written, abs=1e-5)
        # The one column that has come since.
        assert row == {**earlier_row, "warning": ""}


def test_the_latest_model_is_that_of_the_last_run(earlier):
    (labelled,) = poets("classify", "unsorted/000.jpg")

    assert [guess["label"] for guess in labelled["labels"]] == ["blue", "red"]


def test_a_finished_model_labels_files(earlier):
    paths = [f"unsorted/{number:03d}.jpg" for number in range(3)]

    found = list(classify_files(earlier.run("colours").model, paths, 1))

    assert [prediction.ranked[0][0] for prediction in found] == COLOURS


@pytest.mark.parametrize("name", ["colours", "spoilt"])
def test_the_report_is_there_or_is_made(earlier, name):
    # Of one run the page is in the storage, of the other it is not.
    path = Path(poets("report", name)["report"])

    assert path == earlier.run(name).report
    assert "</html>" in path.read_text("utf-8")
    assert "blue/000.jpg" in path.read_text("utf-8")


def test_a_report_is_made_again(earlier):
    path = earlier.run("colours").report
    path.unlink()

    poets("report", "colours")

    assert "blue/000.jpg" in path.read_text("utf-8")


def test_a_new_run_on_the_same_photographs_computes_nothing(earlier, taken):
    # By another path, so that they are known by their content.
    options = read_plan(earlier.run("colours")).training
    use_storage(earlier.root)
    run = make_run(earlier, Path("photos"), "new", options=options, backbone=TINY)
    assert run.plan.cached == 24

    result = poets("resume", "new")

    assert (result["cached"], result["computed"], result["lost"]) == (24, 0, 0)
    assert [name for name, _ in taken] == ["poets.train_head"]
    assert result["test_accuracy"] == read_result(Run.open(earlier, "colours")).test_accuracy


def test_another_head_is_trained(earlier, taken):
    result = poets("train", "colours", "--solver", "lbfgs", "--name", "third")

    assert (result["cached"], result["computed"], result["lost"]) == (24, 0, 0)
    assert [name for name, _ in taken] == ["poets.train_head"]
    # The same head as the earlier version trained.
    metrics = read_card(earlier.run("colours-again").model).metrics
    assert read_card(earlier.run("third").model).metrics == {
        name: figure if isinstance(figure, list) else pytest.approx(figure, abs=1e-4)
        for name, figure in metrics.items()
    }


def test_bad_images_are_listed_and_tried_again(earlier, taken):
    (listed,) = poets("quarantine", "spoilt")["quarantined"]
    assert (listed["path"], listed["label"]) == ("red/broken.jpg", "red")
    assert listed["reason"] == "not an image: no known format"

    result = poets("retry", "spoilt")

    assert (result["retried"], result["repaired"], result["lost"]) == (1, 0, 0)
