"""Folders that name splits are used as splits, where nothing else could be meant."""

import shutil
from collections import Counter

import pytest

from orchestrator.dataset.dataset import Source, open_dataset
from orchestrator.dataset.layout import find_split
from orchestrator.dataset.split import TESTING, TRAINING, VALIDATION
from orchestrator.jobs.submit import plan_retraining
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.runs import compute_run, images_of, make_run, train
from workers.errors import AmbiguousSplitsError, DatasetError, SmallLabelsError
from workers.heads.model_folder import read_card
from workers.settings import Settings
from workers.storage.plan import Plan, TrainingOptions

ALL = {"train": 20, "val": 4, "test": 6}


@pytest.fixture
def photos(tmp_path):
    return tmp_path / "photos"


def make_splits(folder, counts, labels=("blue", "red"), inner="{split}/{label}"):
    """Write N pictures of each label into each split, no two of them alike."""
    seed = 0
    for split, count in counts.items():
        for label in labels:
            for number in range(count):
                seed += 1
                place = inner.format(split=split, label=label)
                make_picture(folder / place / f"{number:03d}.jpg", COLOURS[label], seed)
    return folder


def open_photos(storage, folder, splits="auto", label_file=None, **options):
    return open_dataset(storage, Source(folder, label_file, splits), TrainingOptions(**options))


def splits_by_folder(dataset):
    """Return how many images each top folder gives to each split."""
    pairs = zip(dataset.images, dataset.splits, strict=True)
    return dict(Counter((image.path.split("/")[0], split) for image, split in pairs))


@pytest.mark.parametrize(("name", "split"), [
    ("train", TRAINING), ("Training", TRAINING), ("TRAIN", TRAINING), ("train_set", TRAINING),
    ("train2017", TRAINING), ("training-data", TRAINING), ("Train Images", TRAINING),
    ("val", VALIDATION), ("Valid", VALIDATION), ("validation", VALIDATION), ("dev", VALIDATION),
    ("test", TESTING), ("TESTING", TESTING), ("eval", TESTING), ("hold-out", TESTING),
    ("holdout", TESTING), ("testset", TESTING), ("test_1", TESTING),
    ("trainer", None), ("trains", None), ("contest", None), ("valley", None), ("2019", None),
    ("set", None), ("images", None), ("daisy", None), ("seg_train", None), ("", None),
])  # fmt: skip
def test_the_usual_names_of_splits(name, split):
    assert find_split(name) == split


def test_folders_of_splits_are_the_splits_and_the_folders_in_them_the_labels(storage, photos):
    found = open_photos(storage, make_splits(photos, ALL))

    assert not found.refusals
    assert found.labels == {"blue": 30, "red": 30}
    assert splits_by_folder(found) == {
        ("train", TRAINING): 40, ("val", VALIDATION): 8, ("test", TESTING): 12,
    }  # fmt: skip
    assert found.split_folders == {"test": TESTING, "train": TRAINING, "val": VALIDATION}
    assert found.given_splits == (TRAINING, VALIDATION, TESTING)
    assert found.remarks == []


def test_names_are_taken_in_any_case_and_two_folders_may_be_one_split(storage, photos):
    found = open_photos(storage, make_splits(photos, {"TRAIN": 20, "Valid": 3, "dev": 2}))

    assert splits_by_folder(found)["Valid", VALIDATION] == 6
    assert splits_by_folder(found)["dev", VALIDATION] == 4


def test_a_split_that_no_folder_names_is_hashed_out_of_training(storage, photos):
    found = open_photos(storage, make_splits(photos, {"train": 40, "test": 6}))

    counts = splits_by_folder(found)
    assert counts["test", TESTING] == 12
    assert counts.keys() == {("train", TRAINING), ("train", VALIDATION), ("test", TESTING)}
    assert found.given_splits == (TRAINING, TESTING)


def test_what_is_hashed_out_of_training_is_what_the_names_alone_would_choose(storage, photos):
    plain = make_data_set(photos.parent / "plain", per_label=40)
    shutil.copytree(plain, photos / "train")
    make_splits(photos, {"test": 6})

    def held_out(folder, **options):
        found = open_photos(storage, folder, **options)
        pairs = zip(found.images, found.splits, strict=True)
        return {image.path.removeprefix("train/") for image, name in pairs if name == VALIDATION}

    assert held_out(photos) == held_out(plain, testing_percentage=0)


def test_a_training_folder_alone_has_both_other_splits_hashed_out_of_it(storage, photos):
    found = open_photos(storage, make_splits(photos, {"train": 40}))

    assert found.labels == {"blue": 40, "red": 40}
    assert all(found.split_counts.values())


def test_a_folder_of_a_split_is_used_whatever_its_percentage(storage, photos):
    options = {"testing_percentage": 0, "validation_percentage": 0}
    run = make_run(storage, make_splits(photos, ALL), options=TrainingOptions(**options))

    assert len(images_of(run, VALIDATION)) == 8
    assert len(images_of(run, TESTING)) == 12
    assert run.plan.holds_out_validation


def test_a_folder_unpacked_into_one_of_its_own_name_is_gone_through(storage, photos):
    make_splits(photos, {"training_set": 20, "test_set": 5}, inner="{split}/{split}/{label}")

    found = open_photos(storage, photos)

    assert found.labels == {"blue": 25, "red": 25}
    assert found.given_splits == (TRAINING, TESTING)


def test_folders_of_splits_below_the_labels_are_the_splits_too(storage, photos):
    found = open_photos(storage, make_splits(photos, ALL, inner="{label}/{split}"))

    assert found.labels == {"blue": 30, "red": 30}
    assert found.split_counts == {TRAINING: 40, VALIDATION: 8, TESTING: 12}


def test_labels_may_be_called_test_and_train_and_it_is_said(storage, photos):
    for number, label in enumerate(("test", "train", "val")):
        for image in range(20):
            make_picture(photos / label / f"{image}.jpg", (9, 9, 9), 100 * number + image)

    found = open_photos(storage, photos)

    assert found.labels == {"test": 20, "train": 20, "val": 20}
    assert found.given_splits == ()
    assert not found.refusals
    assert found.remarks == [
        "The folders 'test', 'train', 'val' are named as splits, but are taken for labels."
    ]


def test_a_label_among_others_may_be_called_train(storage, photos):
    make_data_set(photos, per_label=20)
    for number in range(20):
        make_picture(photos / "train" / "2019" / f"{number}.jpg", (9, 9, 9), 500 + number)

    found = open_photos(storage, photos)

    assert list(found.labels) == ["blue", "red", "train"]
    assert (found.refusals, found.remarks) == ([], [])


def make_flat_test(photos):
    """Make what competitions give out: the test images have no labels."""
    make_splits(photos, {"train": 20})
    for number in range(5):
        make_picture(photos / "test" / f"{number}.jpg", (9, 9, 9), 900 + number)
    return photos


@pytest.mark.parametrize(("make", "why"), [
    (make_flat_test, "images lie directly in 'test'"),
    (lambda photos: make_splits(photos, {**ALL, "extra": 5}), "'extra' is not"),
    (lambda photos: make_splits(photos, {**ALL, "a": 5, "b": 5}), "'a', 'b' are not"),
])  # fmt: skip
def test_what_could_be_splits_or_labels_is_refused(storage, photos, make, why):
    found = open_photos(storage, make(photos))

    with pytest.raises(AmbiguousSplitsError, match=why):
        found.check_usable()


def test_a_person_may_say_that_they_are_splits(storage, photos):
    found = open_photos(storage, make_flat_test(photos), "folders")

    assert not found.refusals
    assert found.labels == {"blue": 20, "red": 20}
    assert found.given_splits == (TRAINING,)
    assert splits_by_folder(found)["test", None] == 5
    assert all(found.split_counts.values())


def test_a_person_may_say_that_they_are_labels(storage, photos):
    found = open_photos(storage, make_splits(photos, ALL), "hash")

    assert found.labels == {"test": 12, "train": 40, "val": 8}
    assert found.given_splits == ()
    assert "'test', 'train', 'val' are named as splits and hold folders" in found.remarks[0]


@pytest.mark.parametrize("counts", [{"val": 5, "test": 5}, {"spring": 20, "autumn": 20}])
def test_without_a_training_folder_there_is_nothing_to_use_as_splits(storage, photos, counts):
    found = open_photos(storage, make_splits(photos, counts), "folders")

    with pytest.raises(DatasetError, match=r"No folder in .* is named as the training split"):
        found.check_usable()


def test_a_label_that_only_other_splits_hold_is_refused_and_the_rest_looked_at(storage, photos):
    make_splits(photos, ALL)
    make_picture(photos / "test" / "green" / "a.jpg", (9, 9, 9), 900)

    found = open_photos(storage, photos)

    assert found.small_labels == {"green": 0}
    assert found.split_counts == {TRAINING: 40, VALIDATION: 8, TESTING: 12}
    with pytest.raises(SmallLabelsError, match="No training image has the label 'green'"):
        found.check_usable()


def test_a_label_that_a_folder_of_a_split_lacks_is_told_of(storage, photos):
    make_splits(photos, ALL)
    shutil.rmtree(photos / "test" / "red")

    found = open_photos(storage, photos)

    assert not found.refusals
    assert found.remarks == [
        "No test image has the label 'red', so its figures are missing there. Add images with it."
    ]


def test_splits_below_some_of_the_labels_are_not_used_and_it_is_said(storage, photos):
    make_splits(photos, ALL, labels=("blue",), inner="{label}/{split}")
    make_data_set(photos, per_label=20, labels=("red",))

    found = open_photos(storage, photos)

    assert found.given_splits == ()
    assert found.labels == {"blue": 30, "red": 20}
    assert "since 20 images lie elsewhere in the labels" in found.remarks[0]


def test_with_a_label_file_the_folders_may_name_the_splits(storage, photos):
    make_splits(photos, ALL)
    paths = sorted(path.relative_to(photos) for path in photos.rglob("*.jpg"))
    table = photos.with_suffix(".csv")
    rows = [f"{path},{'a;b' if number % 3 else 'a'}" for number, path in enumerate(paths)]
    table.write_text("\n".join(["path,labels", *rows]))

    found = open_photos(storage, photos, label_file=table)
    hashed = open_photos(storage, photos, "hash", label_file=table)

    assert found.split_counts == {TRAINING: 40, VALIDATION: 8, TESTING: 12}
    assert found.labels == hashed.labels == {"a": 60, "b": 40}
    assert hashed.given_splits == ()


def test_every_later_run_on_the_images_keeps_the_splits(ready_storage, photos):
    first = make_run(ready_storage, make_splits(photos, ALL))
    again = plan_retraining(
        Settings(ready_storage.root), "run", {"seed": 7, "target_precision": 0.9},
        name=None, detach=False, on_progress=ignore,
    )  # fmt: skip

    def splits(run):
        return {row.path: (row.label, row.split) for row in images_of(run)}

    assert splits(again) == splits(first)
    assert again.plan.given_splits == first.plan.given_splits == (TRAINING, VALIDATION, TESTING)


def test_an_image_that_is_in_two_folders_of_splits_does_not_train(ready_storage, photos):
    make_splits(photos, ALL)
    shutil.copy(photos / "test" / "red" / "000.jpg", photos / "train" / "red" / "copy.jpg")
    run = make_run(ready_storage, photos)

    compute_run(run)
    train(run)

    counts = read_card(run.folder.model).counts
    assert counts["left_out"] == 1
    assert (counts[TRAINING], counts[VALIDATION], counts[TESTING]) == (40, 8, 12)


def test_a_plan_without_folders_of_splits_is_written_as_before(storage, photos):
    plan: Plan = make_run(storage, make_data_set(photos)).plan

    assert b"given_splits" not in plan.to_json()
