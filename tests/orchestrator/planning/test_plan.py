"""Plans: whole or not at all, names, refusals, and what the cache saves."""

import os
import shutil

import pytest

from orchestrator.dataset.dataset import Source, open_dataset
from orchestrator.dataset.scan import scan_folder
from orchestrator.jobs.submit import TrainingRequest, plan_submission
from orchestrator.planning.batches import choose_batch_size
from orchestrator.planning.plan import check_name, plan_labelling, plan_training
from tests.builders.backbones import BACKBONE, BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.pictures import damage_jpeg, make_picture
from tests.builders.runs import compute_run, make_run, pretend_run
from workers.bottlenecks.batches import complete_batch, read_results
from workers.bottlenecks.requests import ImageResult
from workers.errors import DatasetError, NameTakenError, RunError
from workers.heads.model_folder import MODEL_FILES
from workers.settings import load_settings
from workers.storage.layout import Storage
from workers.storage.manifest import read_batches
from workers.storage.plan import LabellingOptions, TrainingOptions


def test_a_plan_holds_every_image_once_with_its_split(storage, tmp_path):
    run = make_run(storage, make_data_set(tmp_path / "photos"), batch_size=5)

    plan, batches = run.plan, list(read_batches(run.folder))

    images = [image for batch in batches for image in batch.images]
    assert plan.images == len(images) == 24
    assert plan.batches == len(batches) == 5
    assert plan.labels == ("blue", "red")
    assert {image.split for image in images} == {"training", "validation", "testing"}
    assert [image.path for image in images] == sorted(image.path for image in images)


def test_the_search_and_the_plan_show_how_far_they_are(storage, tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.progress._TICK_S", 0)
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))
    seen = []

    dataset = open_dataset(storage, Source(photos), TrainingOptions(), on_progress=seen.append)
    plan_training(
        storage,
        dataset,
        BACKBONE,
        TrainingOptions(),
        name=None,
        batch_size=8,
        on_progress=seen.append,
    )

    phases = {progress.phase: progress for progress in seen}
    assert list(phases) == ["looking for images", "reading the cache", "planning"]
    assert phases["looking for images"].note == "24 found"
    assert phases["reading the cache"].note == "3 shards"
    assert (phases["planning"].done, phases["planning"].total) == (24, 24)


def test_a_second_run_on_the_same_folder_finds_everything(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))

    assert make_run(storage, photos, "second").plan.cached == 24


def test_only_added_images_are_new_work(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))
    for number in range(10):
        make_picture(photos / "red" / f"new{number}.jpg", (200, 10, 10), 5000 + number)

    plan = make_run(storage, photos, "second").plan

    assert plan.images - plan.cached == 10


def test_a_replaced_photograph_is_noticed(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))
    make_picture(photos / "red" / "000.jpg", (0, 0, 0), seed=9999)

    plan = make_run(storage, photos, "second").plan

    assert plan.images - plan.cached == 1


def test_a_moved_and_a_relabelled_photograph_are_free(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))
    (photos / "red" / "000.jpg").rename(photos / "blue" / "was_red.jpg")
    moved = shutil.move(photos, tmp_path / "elsewhere")

    plan = make_run(storage, moved, "second").plan

    assert plan.cached == plan.images == 24


@pytest.mark.parametrize("change", ["cp -r", "cp -rp", "touch", "rename a label", "hard links"])
def test_copied_touched_and_renamed_photographs_are_free_and_read_once(storage, tmp_path, change):
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))
    changed = tmp_path / "changed"
    if change == "touch":
        for path in photos.rglob("*.jpg"):
            os.utime(path, ns=(0, 1_500_000_000_000_000_000))
        changed = photos
    elif change == "rename a label":
        (photos / "red").rename(photos / "crimson")
        changed = photos
    else:
        options = {"cp -r": shutil.copyfile, "cp -rp": shutil.copy2, "hard links": os.link}
        shutil.copytree(photos, changed, copy_function=options[change])

    plan = make_run(storage, changed, "second").plan
    assert plan.cached == plan.images == 24

    for path in changed.rglob("*.jpg"):
        found = path.stat()
        path.write_bytes(b"?" * found.st_size)
        os.utime(path, ns=(0, found.st_mtime_ns))
    # The promise: path, size and time are those of a file that was read, so it is not read.
    assert make_run(storage, changed, "third").plan.cached == 24
    # At another path, the content decides.
    assert make_run(storage, changed.rename(tmp_path / "moved"), "fourth").plan.cached == 0


def test_what_is_said_of_a_damaged_photograph_is_known_to_later_runs(ready_storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    damaged = damage_jpeg(photos / "red" / "003.jpg")
    compute_run(make_run(ready_storage, photos, "first"))
    shutil.copy(damaged, photos / "red" / "copy.jpg")

    run = make_run(ready_storage, photos, "second")

    warnings = {
        row.path: result.warning
        for batch in read_batches(run.folder)
        for row, result in zip(batch.images, read_results(run, batch), strict=True)
        if result.warning
    }
    assert run.plan.cached == run.plan.images == 25
    assert set(warnings) == {"red/003.jpg", "red/copy.jpg"}
    assert all(text.startswith("damaged: ") for text in warnings.values())


def test_a_damaged_shard_counts_as_missing(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    pretend_run(make_run(storage, photos, "first"))
    shard = next(storage.bottlenecks(BACKBONE_ID).glob("*/*.arrow"))
    shard.write_bytes(shard.read_bytes()[:100])

    plan = make_run(storage, photos, "second").plan

    assert plan.images - plan.cached == 8


def test_images_that_may_yet_be_read_are_not_taken_from_the_cache(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    run = make_run(storage, photos, "first", batch_size=100)
    (batch,) = read_batches(run.folder)
    gone = [ImageResult(None, None, "cannot be opened")] * 24
    complete_batch(run, batch, lambda _: gone)

    assert make_run(storage, photos, "second").plan.cached == 0


def test_a_name_is_taken_once_and_automatic_names_count(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos")
    make_run(storage, photos, "spring")

    with pytest.raises(NameTakenError, match="is a run 'spring' already"):
        make_run(storage, photos, "spring")
    assert make_run(storage, photos, None).name == "photos-1"
    assert make_run(storage, photos, None).name == "photos-2"
    assert not list(storage.runs.glob(".tmp*"))


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 101, "spaced name"])
def test_a_name_that_is_no_plain_file_name_is_refused(storage, tmp_path, name):
    with pytest.raises(RunError, match="not allowed"):
        make_run(storage, make_data_set(tmp_path / "photos"), name)


def test_a_folder_that_gives_no_classifier_is_refused_and_nothing_is_written(storage, tmp_path):
    (tmp_path / "empty").mkdir()
    make_picture(tmp_path / "flat" / "a.jpg", (1, 2, 3))
    make_data_set(tmp_path / "one", labels=("red",))
    make_data_set(tmp_path / "few", per_label=2)

    for folder, message in {
        "empty": "no images",
        "flat": "one folder for each label",
        "one": "only one label",
        "few": "at least 3",
    }.items():
        with pytest.raises(DatasetError, match=message):
            make_run(storage, tmp_path / folder)
    assert not storage.runs.exists()


def test_what_was_held_out_stays_held_out_in_the_next_run(storage, tmp_path):
    photos = make_data_set(tmp_path / "photos", per_label=4)
    first = splits(make_run(storage, photos, "first"))
    make_data_set(photos, per_label=40)

    second = splits(make_run(storage, photos, "second"))

    assert {path: second[path] for path in first} == first


def splits(run):
    return {image.path: image.split for batch in read_batches(run.folder) for image in batch.images}


def test_a_labelling_job_copies_its_model_and_needs_no_labels(storage, tmp_path):
    make_picture(tmp_path / "photos" / "a.jpg", (1, 2, 3))
    options = LabellingOptions("spring", str(tmp_path / "labels.csv"), "csv", 5)
    model = tmp_path / "model"
    model.mkdir()
    for name in MODEL_FILES:
        (model / name).write_text(name)

    job = plan_labelling(
        storage,
        scan_folder(tmp_path / "photos"),
        BACKBONE,
        options,
        model,
        name=None,
        batch_size=None,
    )

    assert job.name == "photos-labels-1"
    # The backbone is in the storage already.
    assert {path.name for path in job.folder.model.iterdir()} == {*MODEL_FILES} - {
        "backbone.tflite"
    }
    assert job.plan.kind == "label"
    ((image,),) = (batch.images for batch in read_batches(job.folder))
    assert (image.label, image.split) == (None, None)


def test_weights_are_not_looked_for_when_the_folder_cannot_give_a_classifier(tmp_path):
    (tmp_path / "empty").mkdir()
    request = TrainingRequest(Source(tmp_path / "empty"), "mobilenet_0.50_224", TrainingOptions())

    with pytest.raises(DatasetError, match="There are no images in"):
        plan_submission(load_settings(), request, lambda _: None)


def test_a_name_is_taken_in_its_storage_only(storage, tmp_path):
    make_run(storage, make_data_set(tmp_path / "photos"))

    check_name(Storage(tmp_path / "elsewhere"), "run")

    with pytest.raises(NameTakenError) as raised:
        check_name(storage, "run")
    assert raised.value.run == "run"


def test_a_batch_suits_the_data_set():
    assert choose_batch_size(100) == 32
    assert choose_batch_size(10_000) == 152
    assert choose_batch_size(1_000_000) == 512
    # Every process that opens a manifest holds its footer, which grows with the batches.
    assert choose_batch_size(4_000_000) == 1952
    assert choose_batch_size(100_000_000) == 2048


def test_the_plan_survives_its_file(storage, tmp_path):
    options = TrainingOptions(seed=3, solver="sgd", steps=10)
    run = make_run(storage, make_data_set(tmp_path / "photos"), options=options)

    found = run.plan.training

    assert (found.seed, found.solver, found.steps) == (3, "sgd", 10)
