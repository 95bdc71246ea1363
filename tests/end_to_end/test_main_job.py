"""The main job on the embedded stack: a real server, real workers, real files."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_data_set
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets, poets_json, start
from tests.builders.reports import read_table
from tests.builders.runs import trained

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
SUBMIT_KEYS = {
    "run", "images", "labels", "computed", "cached", "quarantined", "lost", "training",
    "validation", "testing", "validation_accuracy", "test_accuracy", "test_accuracy_interval",
    "suspects", "duplicates", "model", "seconds",
}  # fmt: skip
CLASSIFY_KEYS = {
    "job", "images", "ok", "unsure", "failed", "output", "model", "seconds", "images_per_second",
}  # fmt: skip


def test_a_folder_becomes_a_classifier_and_the_classifier_labels_a_folder(photos, tmp_path):
    first = poets_json("submit-dataset", photos, *TINY_OPTIONS)

    assert first.keys() >= SUBMIT_KEYS
    assert (first["images"], first["labels"]) == (80, ["blue", "red"])
    assert (first["computed"], first["cached"]) == (80, 0)
    assert (first["quarantined"], first["lost"]) == (0, 0)
    assert first["training"] + first["validation"] + first["testing"] == 80
    assert first["test_accuracy"] == 1.0

    second = poets_json("submit-dataset", photos, *TINY_OPTIONS)
    assert (second["computed"], second["cached"]) == (0, 80)
    assert second["test_accuracy"] == first["test_accuracy"]

    make_picture(tmp_path / "new" / "red.jpg", COLOURS["red"], 777)
    make_picture(tmp_path / "new" / "sub" / "blue.jpg", COLOURS["blue"], 778)
    (tmp_path / "new" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    job = poets_json("classify-dir", tmp_path / "new", "--output", tmp_path / "labels.csv")

    assert job.keys() >= CLASSIFY_KEYS
    assert (job["images"], job["ok"], job["unsure"], job["failed"]) == (3, 2, 0, 1)
    rows = read_table(tmp_path / "labels.csv")
    assert [(row["path"], row["status"], row["label"]) for row in rows] == [
        ("broken.jpg", "failed", ""),
        ("red.jpg", "ok", "red"),
        ("sub/blue.jpg", "ok", "blue"),
    ]
    assert rows[0]["error"] == "cannot be decoded: JPEG: no marker found"
    assert {row["model"] for row in rows} == {second["run"]}

    out, _ = poets("classify", tmp_path / "new" / "red.jpg")
    assert out.splitlines()[0] == f"red (score = {float(rows[1]['score']):.5f})"


def test_words_for_a_person_say_the_same(photos, tmp_path):
    out, err = poets("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring")

    assert "Run spring: 80 images, 2 labels, 0 known already" in err
    assert "80 computed, 0 from the cache, 0 unreadable, 0 lost" in out
    assert "100.0% test" in out
    assert "poets classify-dir DIR" in out

    out, err = poets("classify-dir", photos, "-o", tmp_path / "l.jsonl", "--quiet")
    assert err == ""
    assert "80 labelled, 0 failed" in out
    lines = (tmp_path / "l.jsonl").read_text().splitlines()
    assert {json.loads(line)["status"] for line in lines} == {"ok"}

    assert "spring" in poets("runs")[0]
    assert "Run spring has finished" in poets("show", "spring")[0]


def test_added_replaced_and_moved_photographs_cost_what_they_must(photos):
    poets("submit-dataset", photos, *TINY_OPTIONS, "-q")
    for number in range(10):
        make_picture(photos / "red" / f"new{number}.jpg", COLOURS["red"], 5000 + number)
    make_picture(photos / "blue" / "000.jpg", COLOURS["blue"], 9000)
    (photos / "blue" / "001.jpg").rename(photos / "red" / "relabelled.jpg")

    result = poets_json("submit-dataset", photos, *TINY_OPTIONS)

    assert (result["images"], result["computed"], result["lost"]) == (90, 11, 0)


def test_a_copy_of_a_held_out_image_does_not_leak_into_training(photos):
    for number, picture in enumerate(sorted((photos / "red").iterdir())):
        (photos / "red" / f"copy{number}.jpg").write_bytes(picture.read_bytes())

    result = poets_json("submit-dataset", photos, *TINY_OPTIONS)

    assert result["left_out"] > 0
    splits = result["training"] + result["validation"] + result["testing"]
    assert splits + result["left_out"] == 120


def test_gradient_descent_takes_its_options(photos):
    options = ("--solver", "sgd", "--steps", 500, "--learning-rate", 20)

    result = poets_json("submit-dataset", photos, *TINY_OPTIONS, *options)

    training = json.loads(Path(result["model"], "model.json").read_text())["training"]
    assert (training["solver"], training["steps"]) == ("sgd", 500)
    assert training["learning_rate"] == 20


def test_the_model_folder_can_be_used_elsewhere(photos, tmp_path, ready_storage):
    model = trained(ready_storage, photos).folder.model
    elsewhere = tmp_path / "carried" / "model"
    elsewhere.parent.mkdir()
    shutil.copytree(model, elsewhere)
    target = {"POETS_STORAGE": str(tmp_path / "other")}

    out, _ = poets("classify", photos / "red" / "000.jpg", "--model", elsewhere, **target)
    assert out.startswith("red (score = ")

    output = tmp_path / "labels.parquet"
    job = poets_json("classify-dir", photos, "--model", elsewhere, "-o", output, **target)
    assert (job["ok"], job["failed"]) == (80, 0)
    assert pq.read_table(output).column("label").to_pylist() == ["blue"] * 40 + ["red"] * 40

    card = json.loads((elsewhere / "model.json").read_text())
    assert card["labels"] == ["blue", "red"]
    arrays = np.load(elsewhere / "head.npz", allow_pickle=False)
    assert arrays["weights"].shape == (card["bottleneck_size"], 2)


def test_an_output_is_never_overwritten_without_force(photos, tmp_path, ready_storage):
    trained(ready_storage, photos)
    output = tmp_path / "labels.csv"
    output.write_text("mine")

    _, err = poets("classify-dir", photos, "-o", output, exit_code=1)
    assert "--force" in err
    assert output.read_text() == "mine"

    poets("classify-dir", photos, "-o", output, "--force", "--top-k", 1, "-q")
    assert output.read_text().startswith("path,status,label,score,error,model,warning\n")


def test_odd_names_survive_into_the_output(photos, tmp_path, ready_storage):
    names = ["-rf.jpg", "new\nline.jpg", 'quo"te,.jpg', os.fsdecode(b"caf\xe9.jpg"), "雛菊 🌼.jpg"]
    trained(ready_storage, photos)
    for number, name in enumerate(names):
        make_picture(tmp_path / "odd" / "x.jpg", COLOURS["red"], number).rename(
            tmp_path / "odd" / name
        )

    poets("classify-dir", tmp_path / "odd", "-o", tmp_path / "labels.csv", "-q")

    rows = read_table(tmp_path / "labels.csv")
    expected = {"-rf.jpg", "new\nline.jpg", 'quo"te,.jpg', "caf\\xe9.jpg", "雛菊 🌼.jpg"}
    assert {row["path"] for row in rows} == expected
    assert {row["status"] for row in rows} == {"ok"}


def test_the_demo_is_right_whatever_broker_is_configured(tmp_path):
    nowhere = {"POETS_BROKER_URL": "redis://localhost:1/0"}

    results = poets_json("demo", "--folder", tmp_path / "demo", **nowhere)

    assert results["trained"]["test_accuracy"] >= 0.95
    assert len(results["trained"]["labels"]) == 5
    rows = read_table(tmp_path / "demo" / "labels.csv")
    right = sum(row["label"] == row["path"].split("/")[0] for row in rows)
    assert right / len(rows) >= 0.9


def test_two_submits_at_once_lose_nothing(tmp_path):
    photos = make_data_set(tmp_path / "photos", per_label=40)
    both = [start("submit-dataset", photos, *TINY_OPTIONS, "--json") for _ in range(2)]

    results = [json.loads(process.communicate()[0]) for process in both]

    assert {result["run"] for result in results} == {"photos-1", "photos-2"}
    for result in results:
        assert (result["images"], result["lost"], result["quarantined"]) == (80, 0, 0)
        assert result["test_accuracy"] == 1.0
