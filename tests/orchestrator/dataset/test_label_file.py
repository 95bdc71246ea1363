"""Label files: what is understood, what is refused, and how names find their images."""

import csv
import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dataset.label_file import apply_label_file, read_label_file
from orchestrator.dataset.scan import FoundImage, Scan, scan_folder
from tests.builders.pictures import make_picture
from workers.errors import DatasetError
from workers.storage.label_sets import join_labels, split_labels
from workers.storage.names import decode_name, encode_name

# Names that a file can have: no slash, no NUL, any other byte.
NAMES = st.binary(min_size=1, max_size=8).filter(lambda b: not {0, 47} & set(b)).map(os.fsdecode)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def read(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_label_file(path)


def labels_of(file):
    return {row.path: row.labels for row in file.rows}


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(("a.jpg", "trip/b.jpg", "trip/day 2/c.jpg")):
        make_picture(tmp_path / "photos" / name, (200, 30, 30), number)
    return tmp_path / "photos"


def applied(tmp_path, photos, content):
    scan = scan_folder(photos)
    warnings = apply_label_file(scan, read(tmp_path, content))
    return scan, warnings


@pytest.mark.parametrize(
    "content",
    [
        "path,labels\na.jpg,beach; people\nb.jpg,\nc.jpg,people|people|beach|\n",
        "\ufefflabels,path\r\nbeach|people,a.jpg\r\n\r\n,b.jpg\r\npeople;beach,./c.jpg\r\n",
        "path,beach,people\na.jpg,1,1\nb.jpg,0,0\nc.jpg,1,1\n",
        "path,beach,people\na.jpg,True,1.0\nb.jpg,False,0.0\nc.jpg,true,1\n",
    ],
)
def test_both_forms_say_the_same(tmp_path, content):
    found = {path: set(labels) for path, labels in labels_of(read(tmp_path, content)).items()}

    assert found == {"a.jpg": {"beach", "people"}, "b.jpg": set(), "c.jpg": {"beach", "people"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("file,labels\na.jpg,x\n", "Line 1 .* no column 'path', only 'file', 'labels'"),
        ("path\na.jpg\n", "Line 1 .* no column but 'path'"),
        ("path,labels,x\na.jpg,y,1\n", "Line 1 .* both 'labels' and 'x'"),
        ("path,x,x\na.jpg,1,1\n", "Line 1 .* two columns named 'x'"),
        ("path,x,\na.jpg,1,1\n", "Line 1 .* without a name"),
        ("path,labels\na.jpg,x\nb.jpg,x,y\n", "Line 3 .* 3 instead of 2 cells; quote"),
        ('path,labels\n"a\n.jpg",x\n\nb.jpg\n', "Line 5 .* 1 instead of 2 cells"),
        ("path,labels\n,x\n", "Line 2 .* an empty path"),
        ("path,x\na.jpg,1\nb.jpg,yes\n", "Line 3 .* 'yes' in the column 'x'; write 1 or 0"),
        ("path,x\na.jpg,\n", "Line 2 .* '' in the column 'x'"),
        ('path,labels\na.jpg,"x\n', "Line 2 .* unexpected end of data"),
        ('path,labels\na.jpg,"x"y\n', "Line 2 .* expected"),
        (b"path,labels\na.jpg,x\ncaf\xe9.jpg,x\n", "Line 3 .* not UTF-8"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize("name", ["gone.csv", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(DatasetError, match=r"cannot be read: .*Check the path"):
        read_label_file(tmp_path / name)


def test_a_label_file_that_is_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")

    with pytest.raises(DatasetError, match="cannot be read: it is not a regular file"):
        read_label_file(tmp_path / "labels.csv")


def test_folders_are_no_labels_and_an_image_may_have_none(tmp_path, photos):
    scan, warnings = applied(
        tmp_path, photos, "path,labels\ntrip/b.jpg,x\na.jpg,\ntrip/day 2/c.jpg,y;x\n"
    )

    assert [(image.path, image.label) for image in scan.images] == [
        ("a.jpg", "[]"),
        ("trip/b.jpg", '["x"]'),
        ("trip/day 2/c.jpg", '["x", "y"]'),
    ]
    assert not warnings
    assert not scan.ignored


def test_images_without_a_row_are_ignored_and_rows_without_an_image_reported(tmp_path, photos):
    rows = "".join(f"gone/{number}.jpg,x\n" for number in range(7))

    scan, warnings = applied(tmp_path, photos, f"path,labels\n{rows}a.jpg,x\n")

    assert [image.path for image in scan.images] == ["a.jpg"]
    assert scan.ignored["images that the label file does not name"] == 2
    (warning,) = warnings
    assert "7 of 8 rows" in warning
    assert "'gone/0.jpg'" in warning
    assert "'gone/4.jpg' and 2 more" in warning
    assert "gone/5.jpg" not in warning


def test_a_column_that_no_image_has_is_left_out_and_said(tmp_path, photos):
    _, warnings = applied(tmp_path, photos, "path,x,never\na.jpg,1,0\n")

    assert warnings == ["Left out, since no image has them: 'never'."]


def test_no_row_that_fits_is_an_error_with_an_example(tmp_path, photos):
    with pytest.raises(DatasetError, match=r"such as 'photos/a\.jpg' must be relative .*'a\.jpg'"):
        applied(tmp_path, photos, "path,labels\nphotos/a.jpg,x\n")


def test_an_image_in_two_rows_is_an_error_with_both_lines(tmp_path, photos):
    with pytest.raises(DatasetError, match=r"Line 4 .* names 'a\.jpg', which line 2"):
        applied(tmp_path, photos, "path,labels\na.jpg,x\ntrip/b.jpg,\n./a.jpg,y\n")


def test_a_name_that_is_no_utf8_is_found_as_poets_writes_it(tmp_path):
    folder = tmp_path / "photos"
    make_picture(folder / os.fsdecode(b"caf\xe9.jpg"), (1, 2, 3))
    make_picture(folder / "back\\slash.jpg", (3, 2, 1))

    scan, _ = applied(tmp_path, folder, "path,labels\ncaf\\xe9.jpg,x\nback\\slash.jpg,y\n")

    assert [(image.path, image.label) for image in scan.images] == [
        ("back\\\\slash.jpg", '["y"]'),
        ("caf\\xe9.jpg", '["x"]'),
    ]


@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), as_written=st.booleans())
def test_every_name_finds_its_image(tmp_path_factory, names, as_written):
    images = [FoundImage(encode_name(f"d/{name}"), 1, 1, None) for name in names]
    path = tmp_path_factory.mktemp("names") / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels"])
        for number, image in enumerate(images):
            plain = decode_name(image.path)
            is_text = plain.isprintable() or plain.encode("utf-8", "ignore").decode() == plain
            # Plain text that is by chance how poets writes another image is that image.
            is_other = plain in {other.path for other in images}
            use_plain = is_text and not as_written and not is_other
            writer.writerow([plain if use_plain else image.path, f"label {number}"])
    scan = Scan("root", images, Counter())

    warnings = apply_label_file(scan, read_label_file(path))

    assert not warnings
    expected = {image.path: [f"label {number}"] for number, image in enumerate(images)}
    assert {image.path: split_labels(image.label or "") for image in scan.images} == expected


@given(labels=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=4, unique_by=str.strip))
def test_a_label_with_a_column_of_its_own_may_hold_any_character(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    names = [label.strip() for label in labels if label.strip() not in ("path", "labels")]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "x", *(name for name in names if name != "x")])
        writer.writerow(["a.jpg", 0, *(1 for name in names if name != "x")])

    (row,) = read_label_file(path).rows

    assert [decode_name(label) for label in row.labels] == [name for name in names if name != "x"]


@given(labels=st.lists(TEXTS, max_size=5))
def test_a_set_of_labels_is_one_text_and_back(labels):
    text = join_labels(labels)

    assert split_labels(text) == sorted(set(labels))
    assert join_labels(reversed(split_labels(text))) == text
