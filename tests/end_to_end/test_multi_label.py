"""Several labels an image, from the command to the labels of other images."""

import csv
import json
from pathlib import Path

import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_shapes
from tests.builders.programs import poets, poets_json

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


@pytest.fixture
def table(tmp_path):
    return make_shapes(tmp_path / "shapes", 240)


def test_a_csv_of_labels_becomes_a_classifier_that_labels_a_folder(tmp_path, table):
    shapes = table.with_suffix("")
    (shapes / "first" / "001.jpg").write_bytes(b"broken")
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]) + "gone.jpg,circle\n")

    result = poets_json("submit-dataset", shapes, "--multi-label", table, *TINY_OPTIONS)
    labels = tmp_path / "labels.csv"
    job = poets_json("classify-dir", shapes, "--output", labels, "--top-k", 3)

    assert result["labels"] == ["circle", "square", "triangle"]
    assert (result["images"], result["quarantined"], result["lost"]) == (239, 1, 0)
    assert result["mean_average_precision"] > 0.75
    assert 0.3 < result["test_accuracy"] <= 1
    assert (job["ok"], job["failed"], job["unsure"]) == (239, 1, 0)
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = ["path", "status", "label", "score", "label_2", "score_2", "label_3", "score_3"]
    assert list(rows[0]) == [*header, "error", "model", "warning"]
    given = {path: set(text.split(";")) - {""} for path, text in csv.reader(lines[1:])}
    right = 0
    for row in (row for row in rows if row["status"] == "ok"):
        scores = {row[f"label{rank}"]: float(row[f"score{rank}"]) for rank in ("", "_2", "_3")}
        right += {label for label, score in scores.items() if score >= 0.5} == given[row["path"]]
    assert right / 239 > 0.5


def test_a_person_is_told_what_was_ignored_and_how_good_it_is(table):
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-2]) + "gone.jpg,circle\n")

    out, err = poets("submit-dataset", table.with_suffix(""), "--multi-label", table, *TINY_OPTIONS)

    assert "238 images, 3 labels" in err
    assert "ignored: 2 (images that the label file does not name 2)" in err
    assert "Warning: 1 of 239 rows" in err
    assert "'gone.jpg'" in err
    assert "mean AP" in out
    assert "all labels of an image right" in out


def test_one_label_an_image_has_no_mean_average_precision(photos):
    result = poets_json("submit-dataset", photos, *TINY_OPTIONS)

    assert result["mean_average_precision"] is None
    card = json.loads(Path(result["model"], "model.json").read_text("utf-8"))
    assert card["activation"] == "softmax"


def test_a_malformed_label_file_is_one_line_and_nothing_is_done(table, ready_storage):
    with table.open("a") as file:
        file.write("a.jpg,circle,square\n")

    _, err = poets(
        "submit-dataset", table.with_suffix(""), "--multi-label", table, *TINY_OPTIONS, exit_code=1
    )

    assert "Line 242 of the label file" in err
    assert len(err.strip().splitlines()) == 1
    assert not list(ready_storage.runs.glob("*"))
