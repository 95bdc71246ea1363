"""What `make bench` is made of, as far as it needs none of the competitors."""

import importlib.util
import tomllib

import numpy as np
import pytest

from tests.benchmarks.compare import RIVALS, Rival, run_rival
from tests.benchmarks.material import Material, agreement, gather_photographs, open_material
from tests.benchmarks.network import Layer, load_layers, save_layers
from tests.benchmarks.outcomes import Outcome, by_rate
from tests.benchmarks.page import END, START, Facts, make_section, make_table, write_section
from tests.builders.datasets import make_data_set
from tests.builders.paths import ROOT


def line(wall_s: float, **more: object) -> dict[str, object]:
    values = {"images": 100, "wall_s": wall_s, "cpu_s": 2 * wall_s, "start_up_s": 1.5}
    return {**values, "peak_rss_mb": 1234.0, "agreement": 0.99, "versions": {}, **more}


def outcomes(theirs: float = 0.5) -> list[Outcome]:
    return [
        Outcome("ours", is_ours=True, lines=[line(0.4), line(0.5), line(0.2)]),
        Outcome("theirs", lines=[line(theirs, versions={"theirs": "1.0"})]),
        Outcome("floor", is_floor=True, lines=[line(0.1, agreement=None)]),
        Outcome("absent", reason="No module named 'absent' | really"),
    ]


def test_the_table_has_medians_the_quickest_first_and_reasons_last():
    ours = (rows := outcomes())[0]

    table = make_table(rows, ours).splitlines()

    assert [row.split(" | ")[0] for row in table[2:]] == [
        "| floor",
        "| **ours**",
        "| theirs",
        "| absent",
    ]
    assert table[3] == "| **ours** | 250 | 200 to 500 |  | 8.00 | 1.5 | 1,234 | 0.9900 |"
    assert "| 200 | 200 to 200 | 1.25 × |" in table[4]
    assert table[5] == "| absent | did not run: No module named 'absent' / really | | | | | | |"
    assert {row.count("|") for row in table} == {9}


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [(0.5, "No rival is ahead of `ours`."), (0.2, "Ahead of `ours`: theirs (2.00 ×).")],
)
def test_the_section_says_who_is_ahead(theirs, verdict):
    rows = outcomes(theirs)
    facts = Facts(100, "photographs", "a network", "medians", "a machine", "2026-11-24")

    section = make_section(facts, rows, rows[0], "chart.svg")

    assert verdict in section.split("\n\n")
    assert "![Images a second of each](chart.svg)" in section
    assert "theirs 1.0" in section


def test_a_section_replaces_what_is_between_the_markers_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{START}\nold\n{END}\n\nAfter\n")

    write_section(page, "new")
    write_section(page, "newer")

    assert page.read_text() == f"# Before\n\n{START}\nnewer\n{END}\n\nAfter\n"


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{START}{END}"])
def test_a_page_without_its_markers_is_left_alone(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)

    with pytest.raises(SystemExit, match="needs one line"):
        write_section(page, "new")
    assert page.read_text() == text


def test_the_page_has_its_markers():
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")

    assert text.count(START) == text.count(END) == 1


def test_a_rival_that_cannot_run_is_a_row_with_its_reason(tmp_path):
    outcome = Outcome("nobody")

    run_rival(Rival("nobody", "no_such_rival"), (), Material(str(tmp_path), 1, "", ""), outcome)

    assert not outcome.lines
    assert "No module named" in outcome.reason
    assert by_rate([outcome]) == [outcome]


def test_every_rival_has_its_program_and_its_line_on_the_page():
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    for rival in RIVALS:
        assert importlib.util.find_spec(f"tests.benchmarks.rivals.{rival.module}"), rival
        assert f"| {rival.name.split(',')[0]}" in text, rival


def test_the_extra_is_what_the_makefile_installs(capsys):
    from tests.benchmarks import requirements

    requirements.main()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert capsys.readouterr().out.split() == project["optional-dependencies"]["bench"]


@pytest.mark.parametrize(("count", "files"), [(None, 24), (10, 10), (60, 60)])
def test_photographs_are_as_many_as_asked_for_and_of_every_label(tmp_path, count, files):
    source = make_data_set(tmp_path / "source")

    found = gather_photographs(source, tmp_path / "target", count)

    copies = list((tmp_path / "target").glob("*/*.jpg"))
    assert found == len(copies) == files
    assert {path.parent.name for path in copies} == {"blue", "red"}
    # Times of access are set on them: never on the user's own files.
    ours = {path.stat().st_ino for path in source.glob("*/*")}
    assert not ours & {path.stat().st_ino for path in copies}


def test_material_comes_back_as_it_was_saved(tmp_path):
    material = Material(str(tmp_path), 2, "random-0", "backbone")

    material.save()

    assert open_material(str(tmp_path)) == material


def test_agreement_is_one_for_the_same_direction_and_tells_other_rows():
    rows = np.abs(np.random.default_rng(0).normal(size=(5, 8))).astype(np.float32)

    assert agreement(2 * rows, rows) == pytest.approx(1)
    assert agreement(rows[::-1], rows) < 0.95
    with pytest.raises(ValueError, match="shape"):
        agreement(rows[:4], rows)


def test_layers_come_back_as_they_were_saved(tmp_path):
    kernel = np.arange(18, dtype=np.float32).reshape(3, 3, 2, 1)
    layer = Layer(kernel, np.ones(2, np.float32), 2, is_depthwise=True)

    save_layers(tmp_path / "layers.npz", [layer])

    (found,) = load_layers(tmp_path / "layers.npz")
    assert np.array_equal(found.kernel, kernel)
    assert (found.stride, found.is_depthwise) == (2, True)
