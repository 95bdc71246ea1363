"""Which files count as images, and what is said of the others."""

import os

import pytest

from orchestrator.dataset.scan import describe_ignored, scan_folder, stream_folder
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.runs import make_run
from workers.errors import DatasetError
from workers.storage.names import decode_name

RED = (220, 30, 30)


def test_the_first_folder_is_the_label_at_any_depth(tmp_path):
    make_picture(tmp_path / "daisy" / "2019" / "may" / "a.jpg", RED)
    make_picture(tmp_path / "roses" / "b.JPEG", RED)
    make_picture(tmp_path / "loose.jpg", RED)

    scan = scan_folder(tmp_path)

    assert [(image.path, image.label) for image in scan.images] == [
        ("daisy/2019/may/a.jpg", "daisy"),
        ("loose.jpg", None),
        ("roses/b.JPEG", "roses"),
    ]


def test_other_files_are_ignored_with_a_count(tmp_path):
    make_picture(tmp_path / "a" / "a.jpg", RED)
    make_picture(tmp_path / "a" / "._a.jpg", RED)
    make_picture(tmp_path / ".cache" / "c.jpg", RED)
    (tmp_path / "LICENSE.txt").write_text("free")
    (tmp_path / "a" / os.fsdecode(b"notes.\xff")).touch()
    (tmp_path / "a" / "notes.\x1b[2J").touch()
    (tmp_path / "a" / "link.jpg").symlink_to("a.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")

    scan = scan_folder(tmp_path)

    assert [image.path for image in scan.images] == ["a/a.jpg"]
    assert dict(scan.ignored) == {
        "._*": 1,
        "hidden folders": 1,
        ".txt": 1,
        "odd endings": 2,
        "links": 1,
        "devices and pipes": 1,
    }
    assert describe_ignored(scan.ignored).startswith("7 (odd endings 2, ")


@pytest.mark.parametrize(("name", "counted_as"), [
    ("@eaDir", "@eaDir/"),
    ("#recycle", "#recycle/"),
    ("@Recycle", "@Recycle/"),
    (".@__thumb", ".@__thumb/"),
    ("$RECYCLE.BIN", "$RECYCLE.BIN/"),
    ("$Recycle.Bin", "$RECYCLE.BIN/"),
    ("System Volume Information", "System Volume Information/"),
    ("__MACOSX", "__MACOSX/"),
    (".AppleDouble", ".AppleDouble/"),
    ("lost+found", "lost+found/"),
    (".Trash-1000", ".Trash-1000/"),
    (".thumbnails", ".thumbnails/"),
    (".picasaoriginals", ".picasaoriginals/"),
    (".dtrash", ".dtrash/"),
    ("Catalog Previews.lrdata", "*.lrdata/"),
    ("Photos Library.photoslibrary", "*.photoslibrary/"),
    (".cache", "hidden folders"),
])  # fmt: skip
def test_folders_of_a_system_hold_no_photographs_and_are_counted_by_name(
    tmp_path, name, counted_as
):
    make_picture(tmp_path / name / "deep" / "a.jpg", RED)
    make_picture(tmp_path / "daisy" / name / "b.jpg" / "SYNOPHOTO_THUMB_M.jpg", RED)
    make_picture(tmp_path / "daisy" / "b.jpg", RED)

    scan = scan_folder(tmp_path)

    assert [image.path for image in scan.images] == ["daisy/b.jpg"]
    assert scan.ignored == {counted_as: 2}


@pytest.mark.parametrize(("name", "counted_as"), [
    ("Thumbs.db", "Thumbs.db"),
    ("THUMBS.DB", "Thumbs.db"),
    (".DS_Store", ".DS_Store"),
    ("desktop.ini", "desktop.ini"),
    ("._a.jpg", "._*"),
    (".trashed-1700000000-a.jpg", ".trashed-*"),
    (".pending-1700000000-a.jpg", ".pending-*"),
    ("SYNOPHOTO_THUMB_XL.jpg", "SYNOPHOTO_*"),
    (".nfs00000000004f2b", ".nfs0*"),
])  # fmt: skip
def test_files_of_a_system_are_no_photographs_whatever_they_hold(tmp_path, name, counted_as):
    make_picture(tmp_path / "daisy" / "b.jpg", RED)
    make_picture(tmp_path / "a.jpg", RED).rename(tmp_path / "daisy" / name)

    scan = scan_folder(tmp_path)

    assert [image.path for image in scan.images] == ["daisy/b.jpg"]
    assert scan.ignored == {counted_as: 1}


@pytest.mark.parametrize("name", [
    "eaDir", "recycle", "lost and found", "lrdata", "photoslibrary", "thumbs", ".Trash-me.jpg",
])  # fmt: skip
def test_folders_with_similar_names_are_labels(tmp_path, name):
    folder = name.removeprefix(".")
    make_picture(tmp_path / folder / "a.jpg", RED)

    assert [image.label for image in scan_folder(tmp_path).images] == [folder]


def test_a_folder_of_a_system_that_is_asked_for_itself_is_read(tmp_path):
    make_picture(tmp_path / "@eaDir" / "a.jpg", RED)

    assert [image.path for image in scan_folder(tmp_path / "@eaDir").images] == ["a.jpg"]


def test_of_a_photo_library_only_the_originals_are_photographs(tmp_path):
    library = tmp_path / "Mine.photoslibrary"
    make_picture(library / "originals" / "A" / "a.jpg", RED)
    make_picture(library / "resources" / "derivatives" / "a.jpg", RED)
    make_picture(library / "originals" / "resources" / "b.jpg", RED)

    scan = scan_folder(library)

    assert [image.path for image in scan.images] == [
        "originals/A/a.jpg",
        "originals/resources/b.jpg",
    ]
    assert scan.ignored == {"folders of the photo library": 1}


def test_what_was_ignored_is_named_the_most_frequent_first():
    assert describe_ignored({"links": 2, "@eaDir/": 1200}) == "1,202 (@eaDir/ 1,200, links 2)"
    many = {f".{number}": 1 for number in range(11)}
    assert describe_ignored(many).endswith(".7 1 and 3 more kinds)")


def test_a_file_without_ending_is_an_image_if_it_begins_like_one(tmp_path):
    make_picture(tmp_path / "no_ending", RED)
    (tmp_path / "README").write_text("no image")

    scan = scan_folder(tmp_path)

    assert [image.path for image in scan.images] == ["no_ending"]
    assert scan.ignored == {"no ending": 1}


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path):
    name = os.fsdecode(b"caf\xe9\n-\\x.jpg")
    make_picture(tmp_path / "a.jpg", RED).rename(tmp_path / name)

    (image,) = scan_folder(tmp_path).images

    image.path.encode("utf-8")
    assert decode_name(image.path) == name


def test_all_awkward_files_are_found(data):
    scan = scan_folder(data / "awkward")

    assert len(scan.images) == 77
    assert scan.ignored == {".tsv": 1}


@pytest.mark.parametrize(("make", "message"), [
    (lambda path: None, "There is no folder"),
    (lambda path: path.write_text("x"), "is a file"),
])  # fmt: skip
def test_what_is_no_folder_is_refused(tmp_path, make, message):
    path = tmp_path / "photos"
    make(path)

    with pytest.raises(DatasetError, match=message):
        scan_folder(path)


def test_times_beyond_64_bits_are_times_too(tmp_path, storage):
    photos = make_data_set(tmp_path / "photos")
    os.utime(photos / "red" / "000.jpg", ns=(0, 2**63 + 10**15))
    os.utime(photos / "red" / "001.jpg", ns=(0, -(10**15)))
    far = os.stat(photos / "red" / "000.jpg").st_mtime_ns
    if far < 2**63:
        pytest.skip("this file system keeps no such times")

    versions = {image.path: image.version for image in scan_folder(photos).images}
    make_run(storage, photos)

    assert versions["red/000.jpg"] == 2**63 - 1
    assert versions["red/001.jpg"] < 0


def test_images_without_a_label_are_counted(tmp_path, storage):
    photos = make_data_set(tmp_path / "photos")
    make_picture(photos / "loose.jpg", RED)

    plan = make_run(storage, photos).plan

    assert plan.images == 24
    assert plan.ignored == {"images without a label": 1}


def test_a_stream_finds_the_same_images_in_the_same_order(tmp_path):
    for name in ("a/b.jpg", "a.jpg", "a-b/c.jpg", "a/b/c.jpg", "b.jpg", "a0/x.jpg", "ä.jpg"):
        make_picture(tmp_path / name, RED)

    paths = [image.path for image in stream_folder(tmp_path).images]

    assert paths == sorted(paths)
    assert paths == [image.path for image in scan_folder(tmp_path).images]
