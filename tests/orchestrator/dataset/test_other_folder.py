"""A folder that is one level too high or too low is refused with the one that would do."""

import pytest

from orchestrator.dataset.dataset import Source, open_dataset
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from workers.errors import DatasetError, OtherFolderError
from workers.storage.plan import TrainingOptions


def refusal(storage, folder):
    with pytest.raises(DatasetError) as caught:
        open_dataset(storage, Source(folder), TrainingOptions()).check_usable()
    return caught.value


@pytest.mark.parametrize("inside", ["photos", "archive/flower photos", "a/b/c", "train/images"])
def test_a_folder_above_the_labels(storage, tmp_path, inside):
    make_data_set(tmp_path / "top" / inside, per_label=20)
    make_picture(tmp_path / "top" / "cover.jpg", (1, 2, 3))
    make_picture(tmp_path / "top" / "__MACOSX" / "photos" / "a.jpg", (1, 2, 3))

    error = refusal(storage, tmp_path / "top")

    assert isinstance(error, OtherFolderError)
    assert error.folder == f"{tmp_path}/top/{inside}"
    assert not open_dataset(storage, Source(tmp_path / "top" / inside), TrainingOptions()).refusals


def test_a_folder_above_the_splits(storage, tmp_path):
    for split in ("train", "test"):
        make_data_set(tmp_path / "top" / "photos" / split, per_label=20)

    error = refusal(storage, tmp_path / "top")

    assert isinstance(error, OtherFolderError)
    assert error.folder == f"{tmp_path}/top/photos"


@pytest.mark.parametrize("given", ["red", "blue"])
def test_a_folder_of_one_label(storage, tmp_path, given):
    make_data_set(tmp_path / "photos", per_label=20)

    error = refusal(storage, tmp_path / "photos" / given)

    assert isinstance(error, OtherFolderError)
    assert error.folder == f"{tmp_path}/photos"


def test_a_folder_of_one_label_in_a_split(storage, tmp_path):
    for split in ("train", "test"):
        make_data_set(tmp_path / "photos" / split, per_label=20)

    error = refusal(storage, tmp_path / "photos" / "train" / "red")

    assert isinstance(error, OtherFolderError)
    assert error.folder == f"{tmp_path}/photos"


def test_where_no_other_folder_would_do_none_is_named(storage, tmp_path):
    make_picture(tmp_path / "top" / "only" / "2019" / "a.jpg", (1, 2, 3))
    make_picture(tmp_path / "loose" / "a.jpg", (1, 2, 3))

    assert not isinstance(refusal(storage, tmp_path / "top"), OtherFolderError)
    assert not isinstance(refusal(storage, tmp_path / "loose"), OtherFolderError)


def test_labels_that_are_dates_are_told_of_with_the_folder_that_may_be_meant(storage, tmp_path):
    make_data_set(tmp_path / "photos" / "2023", per_label=20)
    make_data_set(tmp_path / "photos" / "2024-05", per_label=20, labels=("red",))

    found = open_dataset(storage, Source(tmp_path / "photos"), TrainingOptions())

    assert not found.refusals
    assert found.labels == {"2023": 40, "2024-05": 20}
    assert found.other_folder == f"{tmp_path}/photos/2023"
    assert found.remarks[0].startswith("The labels '2023', '2024-05' are dates.")


@pytest.mark.parametrize("names", [
    ("2023/a.jpg", "2024/a.jpg"),
    ("2023/05/a.jpg", "2024/06/a.jpg"),
    ("daisy/2023/a.jpg", "roses/2023/a.jpg"),
    ("2023/siteA/a.jpg", "daisy/siteA/a.jpg"),
])  # fmt: skip
def test_other_dates_are_nothing_to_tell_of(storage, tmp_path, names):
    for number, name in enumerate(names):
        make_picture(tmp_path / "photos" / name, (1, 2, 3), number)

    found = open_dataset(storage, Source(tmp_path / "photos"), TrainingOptions())

    assert found.other_folder is None
