"""`poets train` and `poets sweep`: other heads on the bottlenecks that are there."""

import json
import shutil
import signal

import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.programs import invoke, poets, poets_json, start, wait_until
from tests.builders.runs import trained
from workers.settings import load_settings
from workers.storage.layout import Storage
from workers.storage.manifest import read_batches

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def splits_of(run):
    batches = read_batches(Storage(load_settings().storage).run(run))
    return {image.path: image.split for batch in batches for image in batch.images}


def test_another_head_needs_no_photograph_and_keeps_the_split(photos):
    first = poets_json("submit-dataset", photos, *TINY_OPTIONS, "--name", "first")
    shutil.rmtree(photos)

    again = poets_json("train", "first", "--class-weight", "balanced")

    assert again["run"] == "first-1"
    assert (again["computed"], again["cached"], again["lost"]) == (0, 80, 0)
    assert splits_of("first-1") == splits_of("first")
    model = Storage(load_settings().storage).run("first-1").model
    card = json.loads((model / "model.json").read_text())
    assert (card["training"]["solver"], card["training"]["class_weight"]) == ("lbfgs", "balanced")
    assert again["test_accuracy"] == first["test_accuracy"] == 1
    _, err = poets("train", "first", "--name", "first-1", exit_code=1)
    assert "There is a run 'first-1' already" in err


def test_a_labelling_job_cannot_be_trained(photos, tmp_path, ready_storage):
    trained(ready_storage, photos)
    poets("classify-dir", photos, "-o", tmp_path / "l.csv", "--name", "labels", "-q")

    _, err = poets("train", "labels", exit_code=1)

    assert "labelling job" in err


def test_a_sweep_keeps_the_best_and_shows_the_test_split_to_it_alone(photos, ready_storage):
    trained(ready_storage, photos, name="first")

    # Gradient descent learns nothing from random weights, whose bottlenecks are tiny.
    grid = ("--solver", "sgd,lbfgs", "--class-weight", "none,balanced", "--steps", 20)
    found = poets_json("sweep", "first", *grid, "--name", "best")

    board, best = found["trials"], found["best"]
    assert [row["run"] for row in sorted(board, key=lambda row: row["trial"])] == [
        f"best.00{number}" for number in range(1, 5)
    ]
    accuracies = [row["validation_accuracy"] for row in board]
    assert accuracies == sorted(accuracies, reverse=True)
    assert [row["solver"] for row in board] == ["lbfgs", "lbfgs", "sgd", "sgd"]
    assert board[0]["size_bytes"] > 0
    assert board[0]["images_per_second"] > 0
    assert (best["run"], best["computed"], best["cached"]) == ("best", 0, 80)
    assert best["test_accuracy"] == board[0]["test_accuracy"] is not None
    for row in board:
        trial = json.loads(invoke("show", row["run"], "--json").stdout)["result"]
        assert trial["test_accuracy"] is None
        assert trial["validation_accuracy"] == row["validation_accuracy"]
    # The newest model that somebody chose.
    out, _ = poets("classify", photos / "red" / "000.jpg", "--json")
    assert json.loads(out)[0]["labels"][0]["label"] == "red"
    table, _ = poets("sweep", "first", "--solver", "lbfgs,sgd", "--steps", 50, "-q")
    assert "RANK  ARCHITECTURE" in table
    assert "Run first-sweep-1 has finished" in table


def test_ctrl_c_stops_all_trials_of_a_sweep(photos, ready_storage):
    trained(ready_storage, photos, name="first")
    steps = ",".join(str(200_000 + number) for number in range(6))
    process = start("sweep", "first", "--steps", steps, "--name", "best")
    runs = Storage(load_settings().storage).runs
    wait_until((runs / "best.001" / "steps.csv").exists)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("Stopped. The same command starts again")
    assert json.loads(poets("show", "best.001", "--json")[0])["state"] == "stopped"
    again = json.loads(poets("sweep", "first", "--steps", "5,6", "--name", "best", "--json")[0])
    assert sorted(row["run"] for row in again["trials"]) == ["best-2.001", "best-2.002"]
    assert again["best"]["run"] == "best"


def test_corrected_labels_are_trained_from_the_cache(photos, tmp_path):
    shutil.move(photos / "red" / "000.jpg", photos / "blue" / "was_red.jpg")
    poets("submit-dataset", photos, *TINY_OPTIONS, "--name", "first", "-q")
    (tmp_path / "corrections.csv").write_text("path,label\nblue/was_red.jpg,red\n")

    again = poets_json("relabel", "first", tmp_path / "corrections.csv", "--name", "corrected")

    assert (again["computed"], again["cached"]) == (0, 80)
    assert (photos / "blue" / "was_red.jpg").exists()
    batches = read_batches(Storage(load_settings().storage).run("corrected"))
    labels = {image.path: image.label for batch in batches for image in batch.images}
    assert labels["blue/was_red.jpg"] == "red"
