"""The trainer on images with several labels each, through real bottlenecks."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.builders.backbones import WEIGHTS, install_tiny
from tests.builders.datasets import make_shapes
from tests.builders.reports import data_of, read_table
from tests.builders.runs import compute_run, images_of, make_run, train, trained
from workers.bottlenecks.gathering import SPLITS, gather_bottlenecks
from workers.errors import DatasetError
from workers.exports.model_readme import write_readme
from workers.heads.model_folder import load_model
from workers.labelling import classify_files
from workers.storage.label_sets import split_labels
from workers.storage.layout import Storage
from workers.storage.plan import TrainingOptions

LABELS = ("circle", "square", "triangle")


def evaluation_of(run):
    return json.loads((run.folder.model / "evaluation.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp("shapes") / "shapes", 240)


@pytest.fixture(scope="module")
def train_named(tmp_path_factory, table):
    """Train runs in one storage, which computes each bottleneck once."""
    storage = install_tiny(Storage(tmp_path_factory.mktemp("storage")), WEIGHTS)
    return functools.partial(trained, storage, table.with_suffix(""), label_file=table)


@pytest.fixture(scope="module")
def finished(train_named):
    """A run with the defaults, which no test changes."""
    return train_named(name="finished")


def test_a_run_becomes_a_model_that_tells_the_labels_apart(finished):
    card = load_model(finished.folder.model).card
    assert (card.activation, card.labels) == ("sigmoid", LABELS)
    assert card.training["multi_label"] is True
    found = evaluation_of(finished)
    test = found["test"]
    images = images_of(finished, "testing")
    assert test["images"] == len(images)
    assert test["accuracy"] > 0.3  # one of eight sets by chance
    assert test["mean_average_precision"] == card.metrics["test_mean_average_precision"] > 0.75
    assert (test["confusion"], test["top5_accuracy"], test["sure"]) == (None, None, None)
    for row in test["per_label"]:
        having = [image for image in images if row["label"] in split_labels(image.label)]
        assert row["support"] == len(having)
        assert row["average_precision"] > len(having) / len(images) + 0.1


@pytest.mark.parametrize(
    "options",
    [
        TrainingOptions(solver="sgd", steps=200, learning_rate=0.05, class_weight="balanced"),
        TrainingOptions(evaluate_test=False, class_weight="balanced"),
        TrainingOptions(testing_percentage=0, validation_percentage=0),
    ],
    ids=["sgd", "hidden test", "nothing held out"],
)
def test_every_way_to_train_ends_with_a_model(request, train_named, options):
    run = train_named(name=request.node.callspec.id.replace(" ", "-"), options=options)

    assert load_model(run.folder.model).head.activation == "sigmoid"
    hidden = not (options.testing_percentage and options.evaluate_test)
    assert (evaluation_of(run)["test"]["mean_average_precision"] is None) == hidden


def test_mistakes_and_predictions_speak_of_sets(finished):
    given = {image.path: image.label for split in SPLITS for image in images_of(finished, split)}
    rows = pq.read_table(finished.folder.model / "predictions.parquet").to_pylist()
    assert len(rows) == len(images_of(finished, "testing")) + len(images_of(finished, "validation"))
    assert {row["path"]: row["label"] for row in rows}.items() <= given.items()
    assert all(set(split_labels(row["predicted"])) <= set(LABELS) for row in rows)
    assert all(0 <= row["label_score"] <= row["score"] <= 1 for row in rows)
    assert all(0 <= row["margin"] <= row["score"] for row in rows)
    wrong = {row["path"]: row["predicted"] for row in rows if row["label"] != row["predicted"]}
    assert {
        row["path"]: row["predicted"] for row in read_table(finished.folder.model / "mistakes.csv")
    } == wrong
    for split in ("validation", "test"):
        held = [row for row in rows if row["split"] == split]
        right = sum(row["path"] not in wrong for row in held)
        assert evaluation_of(finished)[split]["accuracy"] == pytest.approx(right / len(held))


def test_a_target_precision_is_about_the_best_label_of_an_image(train_named):
    run = train_named(name="precise", options=TrainingOptions(target_precision=0.7))

    card = load_model(run.folder.model).card
    assert card.thresholds == dict.fromkeys(LABELS, card.promise.threshold)
    assert 9 == card.promise.needed <= card.promise.sure <= card.promise.judged < 240
    sure = evaluation_of(run)["test"]["sure"]
    assert 0 < sure["images"] <= len(images_of(run, "testing"))
    # Labels are decided as without it.
    plain = train_named(name="plain")
    assert [row["precision"] for row in evaluation_of(run)["test"]["per_label"]] == [
        row["precision"] for row in evaluation_of(plain)["test"]["per_label"]
    ]
    paths = [f"{run.plan.root}/{image.path}" for image in images_of(run, "testing")]
    for found in classify_files(run.folder.model, paths, top_k=3):
        label, score = found.ranked[0]
        threshold = card.thresholds[label]
        assert found.is_unsure == (threshold is None or score < threshold)


def test_scores_are_independent_of_each_other(finished):
    paths = [str(path) for path in sorted(Path(finished.plan.root).rglob("*.jpg"))[:40]]

    found = list(classify_files(finished.folder.model, paths, top_k=3))

    assert all({label for label, _ in one.ranked} == set(LABELS) for one in found)
    for one in found:
        scores = [score for _, score in one.ranked]
        assert scores == sorted(scores, reverse=True)
    sums = [sum(score for _, score in one.ranked) for one in found]
    assert max(sums) > 1.5
    assert min(sums) < 0.7


def test_variants_have_the_labels_of_their_image(ready_storage, tmp_path):
    table = make_shapes(tmp_path / "few", 40)
    options = TrainingOptions(flip_left_right=True, random_crop=10, variants=2)
    run = make_run(ready_storage, tmp_path / "few", label_file=table, options=options)
    compute_run(run)

    gathered = gather_bottlenecks(run, lambda: None)

    training = gathered.examples["training"]
    assert training.labels.shape == (3 * gathered.counts["training"], 3)
    assert training.labels.dtype == np.bool_
    given = {image.path: split_labels(image.label) for image in images_of(run, "training")}
    for path, row in zip(training.paths, training.labels, strict=True):
        assert [LABELS[number] for number in np.flatnonzero(row)] == given[path]
    train(run)
    assert load_model(run.folder.model).card.counts["variants"] == 2 * gathered.counts["training"]


def test_copies_under_other_labels_are_told_and_no_other_label_is_doubted(ready_storage, tmp_path):
    table = make_shapes(tmp_path / "few", 60)
    run = make_run(ready_storage, tmp_path / "few", "first", label_file=table)
    tested = next(image for image in images_of(run, "testing") if image.label != '["square"]')
    shutil.copy(tmp_path / "few" / tested.path, tmp_path / "few" / "copy.jpg")
    with table.open("a") as file:
        file.write("copy.jpg,square\n")

    run = trained(ready_storage, tmp_path / "few", name="second", label_file=table)

    exact = [
        row for row in read_table(run.folder.model / "duplicates.csv") if row["similarity"] == "1.0"
    ]
    assert {exact[0]["path"], exact[0]["other"]} == {"copy.jpg", tested.path}
    assert {exact[0]["label"], exact[0]["other_label"]} == {'["square"]', tested.label}
    suspects = read_table(run.folder.model / "suspects.csv")
    assert {"copy.jpg", tested.path} <= {row["path"] for row in suspects}
    assert all(
        "the content of" in r["reason"] or "the very content" in r["reason"] for r in suspects
    )


def test_a_label_whose_training_images_are_all_unreadable_is_refused(ready_storage, tmp_path):
    table = make_shapes(tmp_path / "few", 40)
    run = make_run(ready_storage, tmp_path / "few", "first", label_file=table)
    learnt = images_of(run, "training")[0].path
    lines = table.read_text().splitlines()
    table.write_text("\n".join(f"{li};rare" if li.startswith(learnt) else li for li in lines))
    (tmp_path / "few" / learnt).write_bytes(b"broken")

    with pytest.raises(DatasetError, match="Label 'rare' has no training image left"):
        trained(ready_storage, tmp_path / "few", name="second", label_file=table)


def test_tensorboard_has_figures_and_no_confusion(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.folder.summaries)).Reload()
    assert "test_mean_average_precision" in events.Tags()["scalars"]
    assert events.Tags()["images"] == []


def test_the_report_and_the_model_card_know_what_it_is(finished):
    data = data_of(finished.folder.report)
    assert data["isMultiLabel"] is True
    assert data["splits"]["test"]["confusion"] is None
    card = load_model(finished.folder.model).card
    text = write_readme(card, "shapes", [], "final_result")
    assert "a logistic regression for each label" in text
    assert (
        "| split | accuracy | log loss | mean average precision |\n| --- | --- | --- | --- |"
        in text
    )
    assert f"| {card.metrics['test_mean_average_precision']:.3f} |" in text
    assert "if score >= 0.5" in text
