"""The trainer: from the bottlenecks of a run to one committed model with its reports."""

import csv
import functools
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.builders.backbones import ARCHITECTURE, BACKBONE_ID, WEIGHTS, install_tiny
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.reports import read_table
from tests.builders.runs import compute_run, images_of, make_run, train, trained
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks import gathering
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.gathering import SPLITS, gather_bottlenecks
from workers.bottlenecks.requests import Request
from workers.errors import BottlenecksMissingError, DatasetError, LeaseLostError, ModelError
from workers.heads import temperature
from workers.heads.learning_curve import read_steps
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import load_model
from workers.processes.heartbeat import no_heartbeat
from workers.reports.page.page import complete_report
from workers.storage.layout import Storage
from workers.storage.manifest import read_batches
from workers.storage.plan import Run, TrainingOptions


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with the defaults, which no test changes; others may join it in its storage."""
    folder = tmp_path_factory.mktemp("finished")
    storage = install_tiny(Storage(folder / "storage"), WEIGHTS)
    return trained(storage, make_data_set(folder / "photos"))


@pytest.fixture
def another(finished):
    """Train another run on the photographs of the one that is finished."""
    folder = Path(finished.plan.root)
    return functools.partial(trained, finished.storage, folder)


@pytest.fixture
def copied(finished, tmp_path):
    """The run that is finished, in a storage that a test may change."""
    shutil.copytree(finished.storage.root, tmp_path / "copied")
    return Run.open(Storage(tmp_path / "copied"), finished.name)


def test_a_run_becomes_a_model_with_its_reports(finished):
    assert {path.name for path in finished.folder.model.iterdir()} == {
        "model.json",
        "head.npz",
        "labels.txt",
        "backbone.tflite",
        "evaluation.json",
        "mistakes.csv",
        "predictions.parquet",
        "suspects.csv",
        "duplicates.csv",
        "quarantine.csv",
        "curve.csv",
        "report.html",
    }
    assert (finished.folder.model / "labels.txt").read_text() == "blue\nred\n"


def test_a_report_that_is_missing_is_made_from_the_tables_when_it_is_asked_for(copied):
    made = copied.folder.report.read_bytes()
    copied.folder.report.unlink()

    assert complete_report(copied) == copied.folder.report

    assert copied.folder.report.read_bytes() == made


def test_the_model_says_what_it_is(finished):
    card = load_model(finished.folder.model).card
    assert (card.architecture, card.backbone_id, card.weights) == (
        ARCHITECTURE,
        BACKBONE_ID,
        WEIGHTS,
    )
    assert card.labels == ("blue", "red")
    assert card.bottleneck_size == 256
    assert card.preprocessing.input_size == (128, 128)
    assert card.training["solver"] == "lbfgs"
    assert card.training["l2"] > 0
    assert card.versions["poets"]
    backbone = (finished.folder.model / "backbone.tflite").read_bytes()
    assert card.backbone_sha256 == hashlib.sha256(backbone).hexdigest()
    assert check_backbone(finished.folder.model, card).is_file()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_solver_that_diverged_leaves_no_model_and_says_what_to_change(ready_storage, photos):
    options = TrainingOptions(solver="sgd", learning_rate=1e300, steps=20)

    with pytest.raises(
        DatasetError, match=r"diverged.*lower learning rate, or with the solver lbfgs"
    ):
        trained(ready_storage, photos, options=options)

    assert not (ready_storage.runs / "run" / "model").exists()


def test_a_second_run_counts_what_was_cached(another):
    counts = load_model(another(name="second").folder.model).card.counts

    assert counts["cached"] == 24
    assert counts["computed"] == 0


def test_the_evaluation_agrees_with_itself_and_with_the_card(finished):
    found = json.loads((finished.folder.model / "evaluation.json").read_text())
    card = load_model(finished.folder.model).card
    assert found["labels"] == ["blue", "red"]
    for split, planned in (("validation", "validation"), ("test", "testing")):
        figures = found[split]
        confusion = np.array(figures["confusion"])
        assert figures["images"] == confusion.sum() == len(images_of(finished, planned)) > 0
        assert figures["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
        assert card.metrics[f"{split}_accuracy"] == figures["accuracy"]
        assert card.metrics[f"{split}_log_loss"] == figures["log_loss"]


def test_the_evaluation_has_every_figure_of_every_split(another):
    run = another(name="precise", options=TrainingOptions(target_precision=0.7))

    found = json.loads((run.folder.model / "evaluation.json").read_text())
    card = load_model(run.folder.model).card
    assert found["temperature"] == card.training["temperature"] == 1  # too few images
    assert found["near_duplicates_searched"] is True
    assert card.thresholds.keys() == {"blue", "red"}
    for split in ("validation", "test"):
        figures = found[split]
        low, high = figures["accuracy_interval"]
        assert low < figures["accuracy"] <= high == 1
        assert figures["top5_accuracy"] == 1
        assert 0 <= figures["calibration_error"] < 0.5
        assert figures["macro"].keys() == {"precision", "recall", "f1"}
        for label, row in zip(("blue", "red"), figures["per_label"], strict=True):
            assert row["label"] == label
            assert row["support"] > 0
            assert row["precision"] == row["recall"] == row["f1"] == 1
            assert row["threshold"] == card.thresholds[label] == card.promise.threshold > 0.5
        assert len(figures["calibration_bins"]) == 15
        assert sum(row["count"] for row in figures["calibration_bins"]) == figures["images"]
        assert figures["calibration_bins"][0].keys() == {
            *("low", "high", "count", "mean_score", "accuracy")
        }
    assert found["promise"] == card.promise.to_dict()
    assert found["test"]["sure"] == card.metrics["test_sure"]


def test_what_can_be_promised_comes_from_training_and_validation_photographs(another):
    run = another(name="promised", options=TrainingOptions(target_precision=0.7))

    card = load_model(run.folder.model).card
    promise, counts = card.promise, card.counts
    assert 9 == promise.needed <= promise.judged <= counts["training"] + counts["validation"]
    assert promise.right == promise.sure > 8
    assert promise.bound == pytest.approx(0.05 ** (1 / promise.sure), abs=1e-6)
    assert promise.coverage == promise.sure / promise.judged


@pytest.mark.parametrize(
    "options",
    [
        TrainingOptions(target_precision=0.98),
        TrainingOptions(target_precision=0.98, validation_percentage=0, solver="sgd", steps=50),
        TrainingOptions(target_precision=1),  # of a run from before 1 was refused
        TrainingOptions(
            target_precision=0.98, class_weight="balanced", flip_left_right=True, variants=1
        ),
    ],
    ids=["default", "sgd", "certain", "variants"],
)
def test_too_few_photographs_promise_nothing_so_everything_is_unsure(request, another, options):
    run = another(name=f"few-{request.node.callspec.id}", options=options)

    card = load_model(run.folder.model).card
    held_out = card.counts["validation"] + card.counts["training"]
    assert card.promise.threshold is None
    assert 0 < card.promise.judged <= held_out
    assert card.promise.needed == (149 if options.target_precision < 1 else None)
    assert card.thresholds == {"blue": None, "red": None}
    assert card.is_unsure("blue", 1.0)
    assert card.metrics["test_sure"]["images"] == 0


def test_undefined_figures_are_null(another):
    options = TrainingOptions(testing_percentage=0, target_precision=0.9)
    run = another(name="untested", options=options)

    figures = json.loads((run.folder.model / "evaluation.json").read_text())["test"]

    for name in ("accuracy", "accuracy_interval", "top5_accuracy", "log_loss", "calibration_error"):
        assert figures[name] is None
    assert set(figures["macro"].values()) == {None}
    assert figures["per_label"][0]["recall"] is None
    assert figures["calibration_bins"][3]["accuracy"] is None
    assert figures["sure"] == {"images": 0, "accuracy": None, "accuracy_interval": None}


def test_without_a_target_there_are_no_thresholds(finished):
    figures = json.loads((finished.folder.model / "evaluation.json").read_text())["validation"]

    card = load_model(finished.folder.model).card
    assert (card.thresholds, card.promise) == (None, None)
    assert "promise" not in (finished.folder.model / "model.json").read_text()
    assert [row["threshold"] for row in figures["per_label"]] == [None, None]
    assert figures["sure"] is None


def test_every_held_out_image_has_its_prediction(finished):
    model = load_model(finished.folder.model)
    backbone = LiteRTBackbone(finished.storage.backbone(BACKBONE_ID) / "backbone.tflite")

    rows = pq.read_table(finished.folder.model / "predictions.parquet").to_pylist()

    held_out = {
        image.path: reported
        for planned, reported in (("validation", "validation"), ("testing", "test"))
        for image in images_of(finished, planned)
    }
    assert {row["path"]: row["split"] for row in rows} == held_out
    requests = [Request(f"{finished.plan.root}/{row['path']}") for row in rows]
    results = compute_results(requests, backbone, no_heartbeat)
    for row, result in zip(rows, results, strict=True):
        scores = model.head.predict(result.bottleneck[np.newaxis])[0]
        assert row["label"] == row["path"].split("/")[0]
        assert row["predicted"] == ("blue", "red")[scores.argmax()]
        assert row["score"] == pytest.approx(scores.max(), abs=1e-6)
        assert row["label_score"] == pytest.approx(scores[int(row["label"] == "red")], abs=1e-6)
        assert row["margin"] == pytest.approx(abs(scores[0] - scores[1]), abs=2e-6)


def test_enough_validation_images_give_a_temperature_that_is_in_the_head(
    finished, another, monkeypatch
):
    plain = load_model(finished.folder.model)
    monkeypatch.setattr(temperature, "MIN_IMAGES", 1)

    scaled = load_model(another(name="scaled").folder.model)

    found = scaled.card.training["temperature"]
    assert found != 1
    assert np.allclose(scaled.head.weights * found, plain.head.weights, rtol=1e-5)
    assert np.allclose(scaled.head.bias * found, plain.head.bias, rtol=1e-5)


def test_copies_across_splits_and_labels_are_listed(ready_storage, photos):
    # The same picture under both labels, and a held-out one again.
    make_picture(photos / "blue" / "twice.jpg", (90, 90, 90), 5)
    shutil.copy(photos / "blue" / "twice.jpg", photos / "red" / "twice.jpg")
    planned = make_run(ready_storage, photos, name="planned")
    held_out = images_of(planned, "testing")[0].path
    shutil.copy(photos / held_out, photos / held_out.split("/")[0] / "copied.jpg")
    run = trained(ready_storage, photos)

    duplicates = {
        frozenset({row["path"], row["other"]}): row
        for row in read_table(run.folder.model / "duplicates.csv")
    }

    again = f"{held_out.split('/')[0]}/copied.jpg"
    found = duplicates[frozenset({held_out, again})]
    splits = {found["path"]: found["split"], found["other"]: found["other_split"]}
    planned_as = next(s for s in SPLITS[:2] if again in [i.path for i in images_of(run, s)])
    assert splits == {held_out: "test", again: planned_as}
    assert float(found["similarity"]) == 1
    both = duplicates[frozenset({"blue/twice.jpg", "red/twice.jpg"})]
    assert {both["label"], both["other_label"]} == {"blue", "red"}


def test_an_image_that_is_there_under_two_labels_is_suspect_under_both(ready_storage, photos):
    make_picture(photos / "blue" / "twice.jpg", (90, 90, 90), 5)
    shutil.copy(photos / "blue" / "twice.jpg", photos / "red" / "twice.jpg")
    run = trained(ready_storage, photos)

    first = read_table(run.folder.model / "suspects.csv")[:2]

    assert {(row["path"], row["label"], row["suggested"]) for row in first} == {
        ("blue/twice.jpg", "blue", "red"),
        ("red/twice.jpg", "red", "blue"),
    }
    assert "has the very content of" in first[0]["reason"]
    counts = load_model(run.folder.model).card.counts
    assert counts["suspects"] == len(read_table(run.folder.model / "suspects.csv"))
    assert counts["duplicates"] == len(read_table(run.folder.model / "duplicates.csv"))


def test_a_picture_under_the_wrong_label_is_suspect(ready_storage, photos):
    for label, colour in (("red", (30, 40, 220)), ("blue", (220, 30, 30))):
        make_picture(photos / label / "wrong.jpg", colour, 800)
    run = trained(ready_storage, photos)

    suspects = read_table(run.folder.model / "suspects.csv")

    assert {row["path"] for row in suspects[:2]} == {"red/wrong.jpg", "blue/wrong.jpg"}
    for row in suspects[:2]:
        assert row["reason"] == f"looks like {row['suggested']!r} rather than {row['label']!r}"
        assert 0.5 < float(row["score"]) <= 1


def test_the_codelabs_solver_leaves_its_learning_curve_beside_the_model_and_in_the_run(another):
    run = another(name="sgd", options=TrainingOptions(solver="sgd", steps=25))

    training = load_model(run.folder.model).card.training
    assert (training["solver"], training["steps"]) == ("sgd", 25)

    with open(run.folder.model / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = read_steps(run.folder.steps)
    assert [int(row["step"]) for row in rows] == [step.step for step in steps] == [0, 10, 20, 24]
    for row, step in zip(rows, steps, strict=True):
        assert float(row["train_cross_entropy"]) == step.train_cross_entropy
        assert float(row["validation_accuracy"]) == step.validation_accuracy
    assert sorted(path.name for path in run.folder.summaries.iterdir() if path.is_dir()) == [
        "train",
        "validation",
    ]


def test_two_colours_are_told_apart(finished):
    model = load_model(finished.folder.model)

    assert model.card.metrics["test_accuracy"] == 1


def test_the_same_photographs_give_the_identical_head(ready_storage, photos):
    one = load_model(trained(ready_storage, photos, name="one", batch_size=5).folder.model)
    other = load_model(trained(ready_storage, photos, name="other", batch_size=24).folder.model)

    assert one.head.weights.tobytes() == other.head.weights.tobytes()
    assert one.head.bias.tobytes() == other.head.bias.tobytes()


def test_every_image_is_accounted_for_and_broken_ones_with_their_reasons(ready_storage, photos):
    make_picture(photos / "red" / "b,\n.jpg", (200, 0, 0)).write_bytes(b"broken")
    make_picture(photos / "blue" / "empty.jpg", (0, 0, 200)).write_bytes(b"")

    run = trained(ready_storage, photos)

    counts = load_model(run.folder.model).card.counts
    assert counts["computed"] == 24
    assert counts["quarantined"] == 2
    assert counts["left_out"] == 0
    assert sum(counts[split] for split in ("training", "validation", "testing")) == 24
    with open(run.folder.model / "quarantine.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["path", "reason"],
        ["blue/empty.jpg", "empty file"],
        ["red/b,\n.jpg", "not an image: no known format"],
    ]


def test_mistakes_are_listed_with_what_was_said_instead(ready_storage, photos):
    # Photographs under the wrong label: whichever are held out cannot be guessed right.
    for number in range(30):
        picture = photos / ("red" if number % 2 else "blue") / f"wrong{number}.jpg"
        make_picture(picture, (30, 40, 220) if number % 2 else (220, 30, 30), 700 + number)
    run = trained(ready_storage, photos)

    with open(run.folder.model / "mistakes.csv", newline="", encoding="utf-8") as file:
        mistakes = list(csv.DictReader(file))

    found = json.loads((run.folder.model / "evaluation.json").read_text())
    wrong = sum(
        np.sum(found[s]["confusion"]) - np.trace(found[s]["confusion"])
        for s in ("validation", "test")
    )
    held_out = {
        image.path for split in ("validation", "testing") for image in images_of(run, split)
    }
    assert len(mistakes) == wrong > 0
    assert {row["path"] for row in mistakes} <= held_out
    for row in mistakes:
        assert row["label"] == row["path"].split("/")[0]
        assert {row["label"], row["predicted"]} == {"blue", "red"}
        assert 0.5 <= float(row["score"]) <= 1


def test_a_training_image_with_the_bytes_of_one_that_is_held_out_is_left_out(ready_storage, photos):
    before = make_run(ready_storage, photos, "before")
    secret, copy = images_of(before, "testing")[0], images_of(before, "training")[0]
    shutil.copyfile(photos / secret.path, photos / copy.path)
    run = make_run(ready_storage, photos)
    compute_run(run)

    gathered = gather_bottlenecks(run, no_heartbeat)

    assert gathered.counts["left_out"] == 1
    assert copy.path not in gathered.examples["training"].paths
    assert secret.path in gathered.examples["testing"].paths
    part = gathered.examples["training"]
    assert len(part) == len(part.paths) == len(part.bottlenecks)
    assert len(part) == gathered.counts["training"] == len(images_of(run, "training")) - 1


def test_validation_never_sees_a_test_image_either(ready_storage, photos):
    before = make_run(ready_storage, photos, "before")
    secret, copy = images_of(before, "testing")[0], images_of(before, "validation")[0]
    other = images_of(before, "training")[0]
    for path in (copy.path, other.path):
        shutil.copyfile(photos / secret.path, photos / path)
    run = make_run(ready_storage, photos)
    compute_run(run)

    gathered = gather_bottlenecks(run, no_heartbeat)

    assert gathered.counts["left_out"] == 2
    assert copy.path not in gathered.examples["validation"].paths
    assert other.path not in gathered.examples["training"].paths
    assert secret.path in gathered.examples["testing"].paths


def test_each_example_keeps_its_own_label_and_bottleneck(ready_storage, photos):
    run = make_run(ready_storage, photos)
    compute_run(run)
    backbone = LiteRTBackbone(ready_storage.backbone(BACKBONE_ID) / "backbone.tflite")

    gathered = gather_bottlenecks(run, no_heartbeat)

    for split, examples in gathered.examples.items():
        assert examples.paths == [image.path for image in images_of(run, split)]
        assert [("blue", "red")[n] for n in examples.labels] == [
            path.split("/")[0] for path in examples.paths
        ]
        requests = [Request(str(photos / path)) for path in examples.paths]
        expected = [r.bottleneck for r in compute_results(requests, backbone, no_heartbeat)]
        assert np.array_equal(examples.bottlenecks, expected)


def test_bottlenecks_that_do_not_fit_in_memory_give_the_same_head(finished, another, monkeypatch):
    expected = load_model(finished.folder.model).head
    monkeypatch.setattr(gathering, "_IN_MEMORY_BYTES", 0)

    found = load_model(another(name="file").folder.model).head

    assert np.array_equal(found.weights, expected.weights)
    assert np.array_equal(found.bias, expected.bias)


def test_batches_without_bottlenecks_are_marked_to_be_done_again(ready_storage, photos):
    run = make_run(ready_storage, photos, batch_size=8)
    compute_run(run)
    batches = list(read_batches(run.folder))
    ready_storage.shard(BACKBONE_ID, batches[0].own_shard).unlink()
    ready_storage.shard(BACKBONE_ID, batches[2].own_shard).write_bytes(b"damaged")

    with pytest.raises(BottlenecksMissingError, match="2 batches"):
        train(run)

    assert sorted(path.name for path in run.folder.redo.iterdir()) == ["0", "2"]
    assert not run.folder.model.exists()


def test_batches_that_were_done_again_are_enough_to_train(ready_storage, photos):
    run = make_run(ready_storage, photos, batch_size=8)
    with pytest.raises(BottlenecksMissingError):
        train(run)
    compute_run(run)

    train(run)

    assert list(run.folder.redo.iterdir()) == []
    assert run.folder.model.is_dir()


def test_a_label_without_any_training_image_that_can_be_read_is_refused(ready_storage, photos):
    for picture in (photos / "red").iterdir():
        picture.write_bytes(b"broken")
    run = make_run(ready_storage, photos)
    compute_run(run)

    with pytest.raises(DatasetError, match=r"'red' has no training image .*of 24 images 12 cannot"):
        train(run)

    assert not run.folder.model.exists()


def test_a_model_that_is_there_is_not_made_again(copied):
    before = {path.name: path.read_bytes() for path in copied.folder.model.iterdir()}
    shutil.rmtree(copied.storage.bottlenecks(BACKBONE_ID))

    train(copied)

    assert {path.name: path.read_bytes() for path in copied.folder.model.iterdir()} == before


def test_a_trainer_that_was_taken_over_commits_nothing(ready_storage, photos):
    run = make_run(ready_storage, photos)
    compute_run(run)

    def refuse():
        raise LeaseLostError("taken over")

    with pytest.raises(LeaseLostError):
        train(run, refuse)

    assert not run.folder.model.exists()
    assert [path.name for path in run.folder.path.iterdir() if path.name.startswith(".tmp")] == []


def test_a_missing_backbone_is_no_missing_bottleneck(storage, photos):
    with pytest.raises(ModelError, match="not in storage"):
        train(make_run(storage, photos))


def test_nothing_held_out_gives_a_model_without_figures(another):
    options = TrainingOptions(testing_percentage=0, validation_percentage=0)
    run = another(name="all", options=options)

    metrics = load_model(run.folder.model).card.metrics
    assert metrics["test_accuracy"] is None
    assert metrics["validation_log_loss"] is None


CROPS = TrainingOptions(random_crop=10, variants=2)


def quarantined(run):
    with open(run.folder.model / "quarantine.csv", newline="", encoding="utf-8") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def gather(storage, run):
    return gather_bottlenecks(run, no_heartbeat)


def test_variants_are_training_examples_and_no_photographs(ready_storage, photos):
    run = trained(ready_storage, photos, options=CROPS)

    counts = load_model(run.folder.model).card.counts
    gathered = gather(ready_storage, run)

    assert counts["computed"] + counts["cached"] == 24
    assert counts["training"] + counts["validation"] + counts["testing"] == 24
    assert counts["variants"] == counts["variants_computed"] == 2 * counts["training"]
    assert len(gathered.examples["training"]) == 3 * counts["training"]
    assert len(gathered.examples["testing"]) == counts["testing"]
    images = images_of(run, "training")
    assert gathered.examples["training"].paths == [image.path for image in images]
    assert load_model(run.folder.model).card.training["random_crop"] == 10


@pytest.mark.parametrize("in_memory_bytes", [0, 2**31])
def test_variants_of_a_copy_of_a_held_out_image_are_left_out_with_it(
    ready_storage, photos, monkeypatch, in_memory_bytes
):
    monkeypatch.setattr(gathering, "_IN_MEMORY_BYTES", in_memory_bytes)
    before = make_run(ready_storage, photos, "before")
    held_out = images_of(before, "testing")[0]
    learnt = [image for image in images_of(before, "training") if image.label == held_out.label]
    shutil.copy(photos / held_out.path, photos / learnt[3].path)
    run = make_run(ready_storage, photos, "after", options=CROPS)
    compute_run(run)

    found = gather(ready_storage, run)

    assert found.counts["left_out"] == 1
    assert found.counts["training"] == len(images_of(before, "training")) - 1
    assert found.counts["variants"] == 2 * found.counts["training"]
    assert learnt[3].path not in found.examples["training"].paths
    others = [row for row in images_of(run, "training") if row.path != learnt[3].path]
    assert found.examples["training"].paths == [row.path for row in others]
    backbone = LiteRTBackbone(ready_storage.backbone(BACKBONE_ID) / "backbone.tflite")
    requests = [Request(str(photos / r.path), None, CROPS.recipe(r.variant)) for r in others]
    expected = [result.bottleneck for result in compute_results(requests, backbone, no_heartbeat)]
    assert np.array_equal(found.examples["training"].bottlenecks, expected)


def test_an_unreadable_image_with_variants_is_one_photograph(ready_storage, photos):
    broken = images_of(make_run(ready_storage, photos, "before"), "training")[2].path
    (photos / broken).write_bytes(b"broken")

    run = trained(ready_storage, photos, name="after", options=CROPS)

    counts = load_model(run.folder.model).card.counts
    assert (counts["quarantined"], counts["computed"]) == (1, 23)
    assert quarantined(run) == {broken: "not an image: no known format"}
    assert counts["variants"] == 2 * counts["training"]


def test_an_image_whose_variants_cannot_be_made_is_not_passed_over(ready_storage, photos):
    """It is known already, and vanishes before its variants are computed."""
    trained(ready_storage, photos, name="before")
    run = make_run(ready_storage, photos, "after", options=CROPS)
    vanished = images_of(run, "training")[0].path
    (photos / vanished).unlink()

    compute_run(run)
    train(run)

    counts = load_model(run.folder.model).card.counts
    assert (counts["quarantined"], counts["cached"], counts["computed"]) == (1, 23, 0)
    assert quarantined(run) == {vanished: "cannot be opened: No such file or directory"}
    assert counts["variants"] == 2 * counts["training"]
