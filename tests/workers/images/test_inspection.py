"""What is said of one image file before any work: readable or why not, format, content."""

import hashlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from tests.builders.pictures import make_picture
from tests.builders.tiffs import make_tiff
from workers.errors import ImageError, StorageError
from workers.images.files import ENDINGS, FORMATS, UNREAD_ENDINGS, has_ending_of
from workers.images.inspection import Inspection, Inspector, inspect_image
from workers.images.loading import OpenImage

RED = (220, 30, 30)


def inspector(is_quick=False):
    return Inspector(lambda: None, is_quick)


def test_a_good_photograph_is_read_to_its_end(tmp_path):
    path = make_picture(tmp_path / "a.jpg", RED)

    found = inspect_image(str(path))

    assert found == Inspection(hashlib.sha256(path.read_bytes()).hexdigest(), "JPEG")


def test_verdicts_and_reasons_are_those_of_a_run(data):
    """The very loader of the workers decides, over every awkward file there is."""
    paths = sorted(path for path in (data / "awkward").iterdir() if path.suffix != ".tsv")
    broken = 0
    for path in paths:
        try:
            OpenImage(str(path), (224, 224))
            reason = None
        except ImageError as error:
            reason, broken = str(error), broken + 1

        assert inspect_image(str(path)).error == reason, path

    assert len(paths) == 77
    assert 15 < broken < 40


@pytest.mark.parametrize(
    ("name", "format_name", "is_quick"),
    [("half.jpg", "JPEG", True), ("really_jpeg.png", "JPEG", True), ("frame_size.mpo", "MPO", True),
     ("zero_byte.jpg", None, False), ("error_page.jpg", None, False),
     ("reallybig.bmp", "BMP", False)],
)  # fmt: skip
def test_a_quick_look_is_at_the_header_and_at_the_whole_file_only_if_that_is_bad(
    data, name, format_name, is_quick
):
    path = str(data / "awkward" / name)

    found = inspect_image(path, is_quick=True)

    assert found.format == format_name
    if is_quick:
        assert found == Inspection(format=format_name, profile=found.profile)
    else:
        assert found == inspect_image(path)
        assert found.error


def test_too_many_pixels_are_oversized_not_damaged(data):
    found = inspect_image(str(data / "awkward" / "bomb_30000x30000.png"))

    assert found.is_oversized
    assert found.error == "too large: 30000x30000 pixels, the limit is 178956970"
    assert not inspect_image(str(data / "awkward" / "half.jpg")).is_oversized


def test_links_and_pipes_are_not_opened(tmp_path):
    make_picture(tmp_path / "a.jpg", RED)
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")

    for is_quick in (False, True):
        assert "cannot be opened" in inspect_image(str(tmp_path / "link.jpg"), is_quick).error
        pipe = inspect_image(str(tmp_path / "pipe.jpg"), is_quick)
        assert pipe == Inspection(error="not a regular file")


def test_every_ending_belongs_to_one_format():
    listed = [ending for row in FORMATS.values() for ending in row.endings]

    assert len(listed) == len(set(listed))
    assert set(listed) == ENDINGS - set(UNREAD_ENDINGS)


@pytest.mark.parametrize(
    ("name", "format_name", "fits"),
    [("a.JPG", "JPEG", True), ("a.jpg", "MPO", True), ("a.mpo", "JPEG", True), ("a", "PNG", True),
     ("a.png", "JPEG", False), ("a.jpg", "WEBP", False), ("a.heic", "JPEG", False),
     ("folder.png/a.jpg", "JPEG", True)],
)  # fmt: skip
def test_a_name_fits_the_content_or_not(name, format_name, fits):
    assert has_ending_of(name, format_name) == fits


@pytest.mark.parametrize("is_quick", [False, True])
def test_another_process_says_the_same(tmp_path, is_quick):
    names = ["a.jpg", "line\nbreak.jpg", os.fsdecode(b"caf\xe9.jpg")]
    paths = [str(make_picture(tmp_path / name, RED, n)) for n, name in enumerate(names)]
    (tmp_path / "empty.jpg").touch()
    paths.append(str(tmp_path / "empty.jpg"))
    one = inspector(is_quick)

    try:
        found = [one.inspect(path) for path in paths]
    finally:
        one.stop()

    assert found == [inspect_image(path, is_quick) for path in paths]
    assert found[3].error == "empty file"


def test_images_that_end_or_hang_their_process_are_named(poison, impatience, tmp_path):
    reasons = {
        "aborts.jpg": "killed the process that read it (SIGABRT)",
        "exits.jpg": "ended the process that read it (exit code 7)",
        "hangs.jpg": "hangs: gave no result within 60 s",
        "aborts_once.jpg": None,
        "good.jpg": None,
    }
    paths = [str(make_picture(tmp_path / name, RED)) for name in reasons]
    one = inspector()

    try:
        found = [one.inspect(path) for path in paths]
    finally:
        one.stop()

    assert [seen.error for seen in found] == [*reasons.values()]


def test_trouble_of_the_machine_is_no_fault_of_an_image(tmp_path, monkeypatch):
    path = make_picture(tmp_path / "a.jpg", RED)
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "sitecustomize.py").write_text(
        "import errno, os\n"
        "_open = os.open\n"
        "def trapped(path, *rest, **more):\n"
        "    if str(path).endswith('a.jpg'): raise OSError(errno.ESTALE, 'Stale file handle')\n"
        "    return _open(path, *rest, **more)\n"
        "os.open = trapped\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'trap'}{os.pathsep}{os.getcwd()}")
    one = inspector()

    try:
        with pytest.raises(StorageError, match="cannot be opened now: Stale file handle"):
            one.inspect(str(path))
    finally:
        one.stop()


def test_the_format_is_the_contents_not_the_names(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", "PNG")

    assert inspect_image(str(tmp_path / "a.jpg")).format == "PNG"


def test_an_odd_picture_that_is_read_all_the_same_has_its_format(tmp_path):
    values = np.linspace(0, 1, 256).astype(np.float64).reshape(16, 16)
    (tmp_path / "a.tif").write_bytes(make_tiff(values, 64, 1, sample_format=3))
    target = io.BytesIO()
    Image.new("RGB", (16, 16), RED).save(target, "PNG")
    png = target.getvalue()
    (tmp_path / "a.png").write_bytes(png[:33] + b"\0\0\0\1gAMAx" + bytes(4) + png[33:])

    found = [inspect_image(str(tmp_path / name)) for name in ("a.tif", "a.png")]

    assert [(one.format, one.error, one.damage) for one in found] == [
        ("TIFF", None, None), ("PNG", None, None),
    ]  # fmt: skip


def test_a_damaged_jpeg_of_inks_is_read_and_the_damage_is_found(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 4)).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(noise, "CMYK").save(target, "JPEG", quality=90)
    good, half = target.getvalue(), len(target.getvalue()) // 2
    (tmp_path / "good.jpg").write_bytes(good)
    (tmp_path / "zeros.jpg").write_bytes(good[:half] + bytes(half) + b"\xff\xd9")

    found = [inspect_image(str(tmp_path / name)) for name in ("good.jpg", "zeros.jpg")]

    assert [(one.error, bool(one.damage)) for one in found] == [(None, False), (None, True)]


def test_a_damaged_a_faint_and_a_profiled_picture_are_read_and_told_of(tmp_path, data):
    target = io.BytesIO()
    with Image.open(data / "flowers" / "daisy" / "102841525_bd6628ae3c.jpg") as photograph:
        photograph.save(target, "JPEG", quality=90)
    good = target.getvalue()
    half = len(good) // 2
    (tmp_path / "zeros.jpg").write_bytes(good[:half] + bytes(half) + b"\xff\xd9")
    (tmp_path / "no_end.jpg").write_bytes(good[:-2] + bytes(99))
    (tmp_path / "cut.jpg").write_bytes(good[:half])
    values = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "faint.png")

    zeros, no_end, cut, faint = (
        inspect_image(str(tmp_path / name))
        for name in ("zeros.jpg", "no_end.jpg", "cut.jpg", "faint.png")
    )

    assert zeros.error is None
    assert "extraneous bytes" in zeros.damage
    assert (no_end.error, no_end.damage, no_end.is_faint) == (None, None, False)
    assert "truncated" in cut.error
    assert (faint.error, faint.is_faint) == (None, True)
    assert inspect_image(str(data / "awkward" / "frame_size.mpo")).profile == "Display P3"
