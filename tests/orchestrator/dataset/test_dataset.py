"""A data set is opened once, and tells a submit and a check the same."""

import pytest

from orchestrator.dataset.dataset import Source, open_dataset
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from workers.errors import DatasetError, SmallLabelsError
from workers.storage.plan import TrainingOptions


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=20)


def split_of(dataset):
    pairs = zip(dataset.images, dataset.splits, strict=True)
    return {image.path: split for image, split in pairs}


def test_every_labelled_image_has_a_split_and_others_have_none(storage, photos):
    make_picture(photos / "loose.jpg", (1, 2, 3))

    found = open_dataset(storage, Source(photos), TrainingOptions())

    assert found.labels == {"blue": 20, "red": 20}
    assert [path for path, split in split_of(found).items() if split is None] == ["loose.jpg"]
    assert not found.refusals
    found.check_usable()


def test_a_label_that_is_too_small_is_refused_and_the_others_are_split_as_without_it(
    storage, photos
):
    alone = split_of(open_dataset(storage, Source(photos), TrainingOptions()))
    make_picture(photos / "green" / "a.jpg", (1, 2, 3))

    found = open_dataset(storage, Source(photos), TrainingOptions())

    assert found.small_labels == {"green": 1}
    assert split_of(found) == {**alone, "green/a.jpg": None}
    with pytest.raises(SmallLabelsError, match="'green' has 1"):
        found.check_usable()


def test_the_first_refusal_is_that_of_the_labels(storage, tmp_path):
    make_picture(tmp_path / "photos" / "only" / "a.jpg", (1, 2, 3))

    found = open_dataset(storage, Source(tmp_path / "photos"), TrainingOptions())

    assert len(found.refusals) == 2
    with pytest.raises(DatasetError, match="only one label, 'only'"):
        found.check_usable()


def test_too_few_images_for_the_splits_of_a_label_file_are_refused(storage, tmp_path):
    for name in "ab":
        make_picture(tmp_path / "photos" / f"{name}.jpg", (1, 2, 3))
    table = tmp_path / "labels.csv"
    table.write_text("path,labels\na.jpg,x\nb.jpg,y\n")

    found = open_dataset(storage, Source(tmp_path / "photos", table), TrainingOptions())

    assert found.is_multi_label
    assert found.splits == [None, None]
    with pytest.raises(DatasetError, match="2 images are too few for training, validation"):
        found.check_usable()
