"""Image files: which are opened, which are refused, and that nothing else ever happens."""

import errno
import hashlib
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.builders.pictures import decode_image, make_picture
from workers.errors import ImageError, StorageError
from workers.images.decoding import MAX_PIXELS
from workers.images.files import MAX_BYTES, looks_like_image
from workers.images.loading import ContentError, OpenImage
from workers.processes.child import MEMORY_BYTES

SIZE = (8, 8)


def as_bytes(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


NOISE = Image.effect_noise((40, 30), 60).convert("RGB")
JPEG = as_bytes(NOISE, "JPEG")
FILES = {kind: as_bytes(NOISE, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")}


def state_of(path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def test_the_digest_is_that_of_the_file(tmp_path):
    picture = make_picture(tmp_path / "a.jpg", (10, 20, 30))

    digest = OpenImage(str(picture), SIZE).digest

    assert digest == hashlib.sha256(picture.read_bytes()).digest()


def test_broken_content_is_refused_with_the_digest_of_the_file(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(JPEG[:300])

    with pytest.raises(ContentError, match="cannot be decoded") as caught:
        OpenImage(str(broken), SIZE)

    assert caught.value.digest == hashlib.sha256(JPEG[:300]).digest()


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()

    with pytest.raises(ImageError, match="empty file"):
        OpenImage(str(tmp_path / "empty.jpg"), SIZE)


def test_a_missing_file_is_refused_and_may_come_back(tmp_path):
    with pytest.raises(ImageError, match="cannot be opened: No such file") as caught:
        OpenImage(str(tmp_path / "gone.jpg"), SIZE)

    assert not isinstance(caught.value, ContentError)


def test_a_link_is_not_followed(tmp_path):
    picture = make_picture(tmp_path / "secret.jpg", (10, 20, 30))
    (tmp_path / "link.jpg").symlink_to(picture)

    with pytest.raises(ImageError, match="cannot be opened"):
        OpenImage(str(tmp_path / "link.jpg"), SIZE)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="not a regular file"):
        OpenImage(str(tmp_path), SIZE)


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(ImageError, match="not a regular file"):
        OpenImage(str(tmp_path / "pipe.jpg"), SIZE)


def test_a_device_is_refused():
    with pytest.raises(ImageError, match="not a regular file"):
        OpenImage("/dev/zero", SIZE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_is_refused(tmp_path):
    picture = make_picture(tmp_path / "a.jpg", (10, 20, 30))
    picture.chmod(0)

    with pytest.raises(ImageError, match="cannot be opened: Permission denied"):
        OpenImage(str(picture), SIZE)


def test_a_file_that_is_as_planned_is_read(tmp_path):
    picture = make_picture(tmp_path / "a.jpg", (10, 20, 30))

    assert OpenImage(str(picture), SIZE, state_of(picture)).cut().shape == (8, 8, 3)


@pytest.mark.parametrize("change", [(1, 0), (0, 1)])
def test_a_file_that_changed_after_the_plan_is_refused(tmp_path, change):
    picture = make_picture(tmp_path / "a.jpg", (10, 20, 30))
    size, version = state_of(picture)

    with pytest.raises(ImageError, match="changed after the run was planned") as caught:
        OpenImage(str(picture), SIZE, (size + change[0], version + change[1]))

    assert not isinstance(caught.value, ContentError)


def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(MAX_BYTES + 1)

    with pytest.raises(ImageError, match=f"too large: {MAX_BYTES + 1} bytes"):
        OpenImage(str(tmp_path / "huge.jpg"), SIZE)


@pytest.mark.parametrize("kind", FILES)
def test_an_image_without_an_ending_is_known_by_its_first_bytes(tmp_path, kind):
    (tmp_path / "picture").write_bytes(FILES[kind])

    assert looks_like_image(str(tmp_path / "picture"))


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"RIFF\0\0\0\0WAVEfmt ", b"#!/bin/sh\n"])
def test_other_files_without_an_ending_are_no_images(tmp_path, content):
    (tmp_path / "thing").write_bytes(content)

    assert not looks_like_image(str(tmp_path / "thing"))


def test_what_cannot_be_opened_does_not_look_like_an_image(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert not looks_like_image(str(tmp_path / "pipe"))
    assert not looks_like_image(str(tmp_path / "gone"))


# In a process of its own, whose memory is limited.
STARVE = """
import resource, sys
from workers.images.loading import ContentError, OpenImage
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 20_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    OpenImage(sys.argv[1], (8, 8))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_too_little_memory_is_a_reason_that_is_not_kept_for_the_content(tmp_path):
    Image.new("L", (6_000, 6_000)).save(tmp_path / "large.png")

    found = subprocess.run(
        [sys.executable, "-c", STARVE, str(tmp_path / "large.png")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout == "ImageError cannot be decoded: needs more memory than there is\n"


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded, MemoryError])
def test_what_is_no_fault_of_the_exif_block_is_not_taken_for_one(monkeypatch, error):
    def run_out(image):
        raise error

    monkeypatch.setattr(Image.Image, "getexif", run_out)

    with pytest.raises(error):
        decode_image(JPEG, SIZE)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_trouble_of_the_machine_is_no_fault_of_an_image(tmp_path, monkeypatch, number):
    (tmp_path / "a.jpg").write_bytes(JPEG)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched, pytest.raises(StorageError, match="now"):
        patched.setattr(os, "open", refuse)
        OpenImage(str(tmp_path / "a.jpg"), SIZE)


def test_what_may_be_a_lack_of_memory_is_not_kept_for_the_content(tmp_path):
    content = FILES["WEBP"]
    (tmp_path / "a.webp").write_bytes(content[:40])

    with pytest.raises(ImageError) as refused:
        OpenImage(str(tmp_path / "a.webp"), SIZE)

    assert "could not create decoder object" in str(refused.value)
    assert not isinstance(refused.value, ContentError)


PEAK = """
import sys
from workers.images.loading import OpenImage
OpenImage(sys.argv[2], (224, 224))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak so far
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
before = peak()
OpenImage(sys.argv[1], (224, 224))
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux")
@pytest.mark.parametrize(
    ("mode", "kind", "most_bytes"),
    [
        ("RGB", "JPEG", 0.5),
        ("CMYK", "JPEG", 0.5),
        ("RGB", "PNG", 6),
        ("L", "PNG", 3),
        ("P", "PNG", 8),
        ("RGBA", "PNG", 10),
        ("I;16", "PNG", 14),
        ("F", "TIFF", 20),
    ],
)
def test_a_large_picture_takes_few_bytes_a_pixel(tmp_path, mode, kind, most_bytes):
    """The largest one allowed must fit into the memory that one is given."""
    side = 3000
    Image.new(mode, (side, side)).save(tmp_path / "large", kind)
    (tmp_path / "small.jpg").write_bytes(JPEG)

    found = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "large"), str(tmp_path / "small.jpg")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(found.stdout) * 1024 / side**2 < most_bytes
    assert most_bytes * MAX_PIXELS < MEMORY_BYTES


def decode_or_refuse(content: bytes) -> None:
    """Fail for every exception but ImageError, and for pixels of a wrong kind."""
    try:
        pixels = decode_image(content, SIZE)
    except ImageError as error:
        assert str(error)
    else:
        assert pixels.shape == (8, 8, 3)
        assert pixels.dtype == np.uint8


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(content):
    decode_or_refuse(content)


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=100))
def test_any_bytes_after_a_good_start_are_decoded_or_refused(kind, tail):
    decode_or_refuse(FILES[kind][:60] + tail)


@given(st.sampled_from(sorted(FILES)), st.floats(0, 1), st.integers(1, 255))
def test_a_file_with_one_altered_byte_is_decoded_or_refused(kind, place, change):
    content = bytearray(FILES[kind])
    content[int(place * (len(content) - 1))] ^= change

    decode_or_refuse(bytes(content))


@given(st.integers(0, len(JPEG) - 3))
def test_a_jpeg_that_was_cut_off_is_refused(length):
    with pytest.raises(ImageError):
        decode_image(JPEG[:length], SIZE)
