"""The trainer: from the bottlenecks of a run to one committed model with its reports."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest

from tests.made import ARCHITECTURE, BACKBONE_ID, WEIGHTS, make_data_set, make_picture, make_run
from workers import gathering
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks import complete_batch, compute_results
from workers.classification import check_backbone, load_model
from workers.errors import BottlenecksMissingError, DatasetError, LeaseLostError, ModelError
from workers.gathering import gather_bottlenecks
from workers.report.page import complete_report
from workers.storage.manifest import read_batches
from workers.storage.plan import TrainingOptions, read_plan
from workers.training import train_run


def nothing() -> None:
    """Do nothing: the beat, or a lease that nobody has taken over."""


def compute_run(storage, run):
    backbone = LiteRTBackbone(storage.backbone(BACKBONE_ID) / "backbone.tflite")
    for batch in read_batches(run):
        complete_batch(
            storage,
            run,
            read_plan(run),
            batch,
            lambda images: compute_results(images, backbone, nothing),
        )


def train(storage, run, may_commit=nothing):
    train_run(storage, run, read_plan(run), nothing, may_commit)


def trained(storage, photos, **options):
    run = make_run(storage, photos, **options)
    compute_run(storage, run)
    train(storage, run)
    return run


def images_of(run, split):
    return [image for batch in read_batches(run) for image in batch.images if image.split == split]


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


def test_a_run_becomes_a_model_with_its_reports(ready_storage, photos):
    run = trained(ready_storage, photos)

    assert {path.name for path in run.model.iterdir()} == {
        "model.json",
        "head.npz",
        "labels.txt",
        "backbone.tflite",
        "evaluation.json",
        "mistakes.csv",
        "quarantine.csv",
        "report.html",
    }
    assert (run.model / "labels.txt").read_text() == "blue\nred\n"


def test_a_model_of_an_older_poets_gets_its_report_when_it_is_asked_for(ready_storage, photos):
    run = trained(ready_storage, photos)
    made = run.report.read_bytes()
    run.report.unlink()

    assert complete_report(run) == run.report

    assert run.report.read_bytes() == made


def test_the_model_says_what_it_is(ready_storage, photos):
    run = trained(ready_storage, photos)

    card = load_model(run.model).card
    assert (card.architecture, card.backbone_id, card.weights) == (
        ARCHITECTURE,
        BACKBONE_ID,
        WEIGHTS,
    )
    assert card.labels == ("blue", "red")
    assert card.bottleneck_size == 256
    assert card.preprocessing["input_size"] == [128, 128]
    assert card.training["solver"] == "lbfgs"
    assert card.training["l2"] > 0
    assert card.versions["poets"]
    backbone = (run.model / "backbone.tflite").read_bytes()
    assert card.backbone_sha256 == hashlib.sha256(backbone).hexdigest()
    assert check_backbone(run.model, card).is_file()


def test_every_image_is_accounted_for(ready_storage, photos):
    make_picture(photos / "red" / "broken.jpg", (200, 0, 0)).write_bytes(b"broken")
    run = trained(ready_storage, photos)

    counts = load_model(run.model).card.counts
    assert counts["computed"] == 24
    assert counts["quarantined"] == 1
    assert counts["left_out"] == 0
    assert sum(counts[split] for split in ("training", "validation", "testing")) == 24


def test_a_second_run_counts_what_was_cached(ready_storage, photos):
    trained(ready_storage, photos, name="first")

    counts = load_model(trained(ready_storage, photos, name="second").model).card.counts

    assert counts["cached"] == 24
    assert counts["computed"] == 0


def test_the_evaluation_agrees_with_itself_and_with_the_card(ready_storage, photos):
    run = trained(ready_storage, photos)

    found = json.loads((run.model / "evaluation.json").read_text())
    card = load_model(run.model).card
    assert found["labels"] == ["blue", "red"]
    for split, planned in (("validation", "validation"), ("test", "testing")):
        figures = found[split]
        confusion = np.array(figures["confusion"])
        assert figures["images"] == confusion.sum() == len(images_of(run, planned)) > 0
        assert figures["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
        assert card.metrics[f"{split}_accuracy"] == figures["accuracy"]
        assert card.metrics[f"{split}_log_loss"] == figures["log_loss"]


def test_two_colours_are_told_apart(ready_storage, photos):
    model = load_model(trained(ready_storage, photos).model)

    assert model.card.metrics["test_accuracy"] == 1


def test_the_same_photographs_give_the_identical_head(ready_storage, photos):
    one = load_model(trained(ready_storage, photos, name="one", batch_size=5).model)
    other = load_model(trained(ready_storage, photos, name="other", batch_size=24).model)

    assert one.head.weights.tobytes() == other.head.weights.tobytes()
    assert one.head.bias.tobytes() == other.head.bias.tobytes()


def test_broken_images_are_listed_with_their_reasons(ready_storage, photos):
    make_picture(photos / "red" / "b,\n.jpg", (200, 0, 0)).write_bytes(b"broken")
    make_picture(photos / "blue" / "empty.jpg", (0, 0, 200)).write_bytes(b"")
    run = trained(ready_storage, photos)

    with open(run.model / "quarantine.csv", newline="", encoding="utf-8") as file:
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

    with open(run.model / "mistakes.csv", newline="", encoding="utf-8") as file:
        mistakes = list(csv.DictReader(file))

    found = json.loads((run.model / "evaluation.json").read_text())
    wrong = sum(
        np.sum(found[s]["confusion"]) - np.trace(found[s]["confusion"])
        for s in found
        if s != "labels"
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
    compute_run(ready_storage, run)

    gathered = gather_bottlenecks(ready_storage, run, read_plan(run), nothing)

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
    compute_run(ready_storage, run)

    gathered = gather_bottlenecks(ready_storage, run, read_plan(run), nothing)

    assert gathered.counts["left_out"] == 2
    assert copy.path not in gathered.examples["validation"].paths
    assert other.path not in gathered.examples["training"].paths
    assert secret.path in gathered.examples["testing"].paths


def test_each_example_keeps_its_own_label_and_bottleneck(ready_storage, photos):
    run = make_run(ready_storage, photos)
    compute_run(ready_storage, run)
    backbone = LiteRTBackbone(ready_storage.backbone(BACKBONE_ID) / "backbone.tflite")

    gathered = gather_bottlenecks(ready_storage, run, read_plan(run), nothing)

    for split, examples in gathered.examples.items():
        assert examples.paths == [image.path for image in images_of(run, split)]
        assert [("blue", "red")[n] for n in examples.labels] == [
            path.split("/")[0] for path in examples.paths
        ]
        requests = [(str(photos / path), None) for path in examples.paths]
        expected = [r.bottleneck for r in compute_results(requests, backbone, nothing)]
        assert np.array_equal(examples.bottlenecks, expected)


def test_bottlenecks_that_do_not_fit_in_memory_give_the_same_head(
    ready_storage, photos, monkeypatch
):
    expected = load_model(trained(ready_storage, photos, name="memory").model).head
    monkeypatch.setattr(gathering, "_IN_MEMORY_BYTES", 0)

    found = load_model(trained(ready_storage, photos, name="file").model).head

    assert np.array_equal(found.weights, expected.weights)
    assert np.array_equal(found.bias, expected.bias)


def test_batches_without_bottlenecks_are_marked_to_be_done_again(ready_storage, photos):
    run = make_run(ready_storage, photos, batch_size=8)
    compute_run(ready_storage, run)
    batches = list(read_batches(run))
    ready_storage.shard(BACKBONE_ID, batches[0].own_shard).unlink()
    ready_storage.shard(BACKBONE_ID, batches[2].own_shard).write_bytes(b"damaged")

    with pytest.raises(BottlenecksMissingError, match="2 batches"):
        train(ready_storage, run)

    assert sorted(path.name for path in run.redo.iterdir()) == ["0", "2"]
    assert not run.model.exists()


def test_batches_that_were_done_again_are_enough_to_train(ready_storage, photos):
    run = make_run(ready_storage, photos, batch_size=8)
    with pytest.raises(BottlenecksMissingError):
        train(ready_storage, run)
    compute_run(ready_storage, run)

    train(ready_storage, run)

    assert list(run.redo.iterdir()) == []
    assert run.model.is_dir()


def test_a_label_without_any_training_image_that_can_be_read_is_refused(ready_storage, photos):
    for picture in (photos / "red").iterdir():
        picture.write_bytes(b"broken")
    run = make_run(ready_storage, photos)
    compute_run(ready_storage, run)

    with pytest.raises(DatasetError, match=r"'red' has no training image .*of 24 images 12 cannot"):
        train(ready_storage, run)

    assert not run.model.exists()


def test_a_model_that_is_there_is_not_made_again(ready_storage, photos):
    run = trained(ready_storage, photos)
    before = {path.name: path.read_bytes() for path in run.model.iterdir()}
    shutil.rmtree(ready_storage.bottlenecks(BACKBONE_ID))

    train(ready_storage, run)

    assert {path.name: path.read_bytes() for path in run.model.iterdir()} == before


def test_a_trainer_that_was_taken_over_commits_nothing(ready_storage, photos):
    run = make_run(ready_storage, photos)
    compute_run(ready_storage, run)

    def refuse():
        raise LeaseLostError("taken over")

    with pytest.raises(LeaseLostError):
        train(ready_storage, run, refuse)

    assert not run.model.exists()
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".tmp")] == []


def test_a_missing_backbone_is_no_missing_bottleneck(storage, photos):
    with pytest.raises(ModelError, match="not in storage"):
        train(storage, make_run(storage, photos))


def test_nothing_held_out_gives_a_model_without_figures(ready_storage, photos):
    options = TrainingOptions(testing_percentage=0, validation_percentage=0)
    run = trained(ready_storage, photos, options=options)

    metrics = load_model(run.model).card.metrics
    assert metrics["test_accuracy"] is None
    assert metrics["validation_log_loss"] is None


def test_the_codelabs_solver_can_be_chosen(ready_storage, photos):
    options = TrainingOptions(solver="sgd", steps=50)

    card = load_model(trained(ready_storage, photos, options=options).model).card

    assert card.training["solver"] == "sgd"
    assert card.training["steps"] == 50
