"""Copies of bad images: never over a file, never out of the folder, nothing opened that bites."""

import csv
import os

import pytest

from orchestrator.bad_images import BadImage, check_target, copy_images
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.errors import RefusedError, StorageError
from workers.storage.names import encode_name


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=3)


@pytest.fixture
def plan(storage, photos):
    return make_run(storage, photos).plan


@pytest.fixture
def target(tmp_path):
    return tmp_path / "bad"


def copy(plan, target, *paths):
    return copy_images(plan, [BadImage(path, "red", "half") for path in paths], target, ignore)


def test_files_keep_their_path_content_and_a_list_says_why(plan, target, photos):
    ends = copy(plan, target, "red/000.jpg", "red/gone.jpg")

    assert ends == ["copied", "not copied: cannot be opened: No such file or directory"]
    copied = target / "red" / "000.jpg"
    assert copied.read_bytes() == (photos / "red" / "000.jpg").read_bytes()
    assert sorted(path.name for path in target.rglob("*")) == ["000.jpg", "quarantine.csv", "red"]
    with (target / "quarantine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "path": "red/000.jpg", "label": "red", "reason": "half", "copy": "copied",
    }  # fmt: skip
    assert [row["copy"] for row in rows] == ends


def test_nothing_is_overwritten(plan, target):
    (target / "red").mkdir(parents=True)
    (target / "red" / "000.jpg").write_bytes(b"mine")

    assert copy(plan, target, "red/000.jpg") == ["already there"]
    assert (target / "red" / "000.jpg").read_bytes() == b"mine"


def test_links_and_pipes_that_took_the_place_of_images_are_not_opened(
    plan, target, photos, tmp_path
):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "000.jpg").write_bytes(b"secret")
    (photos / "red" / "link.jpg").symlink_to(tmp_path / "secret" / "000.jpg")
    os.mkfifo(photos / "red" / "pipe.jpg")
    (photos / "green").symlink_to(tmp_path / "secret")

    ends = copy(plan, target, "red/link.jpg", "red/pipe.jpg", "green/000.jpg", "../secret/000.jpg")

    assert all(end.startswith("not copied: ") for end in ends)
    assert [path.name for path in target.iterdir()] == ["quarantine.csv"]


def test_no_copy_leaves_the_folder(plan, target, tmp_path):
    target.mkdir()
    (tmp_path / "outside").mkdir()
    (target / "red").symlink_to(tmp_path / "outside")

    ends = copy(plan, target, "red/000.jpg", "blue/../../photos/red/000.jpg")

    assert all(end.startswith("not copied: ") for end in ends)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"two\nlines.jpg", b"-rf.jpg", b"back\\slash.jpg"]
)
def test_odd_names_keep_their_bytes(plan, target, photos, name):
    (photos / "red" / os.fsdecode(name)).write_bytes(b"half")

    assert copy(plan, target, encode_name(f"red/{os.fsdecode(name)}")) == ["copied"]
    assert os.listdir(os.fsencode(target / "red")) == [name]


def test_a_folder_that_cannot_be_used_is_refused_before_any_copy(plan, target, photos):
    with pytest.raises(RefusedError, match="would become part of it"):
        check_target(plan, photos / "bad")
    check_target(plan, target)
    copy(plan, target, "red/000.jpg")
    with pytest.raises(RefusedError, match=r"quarantine.csv exists already"):
        check_target(plan, target)
    with pytest.raises(RefusedError, match="is a file"):
        check_target(plan, target / "quarantine.csv")


def test_a_folder_that_cannot_be_written_is_said(plan, target):
    target.mkdir()
    (target / "red").write_bytes(b"a file where a folder should be")

    with pytest.raises(StorageError, match="Cannot write"):
        copy(plan, target, "red/000.jpg")
