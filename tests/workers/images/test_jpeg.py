"""JPEGs of every kind of frame, at sizes around those where a fraction is decoded."""

import io
import os
import struct
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.builders.jpegs import COLOURS, GREY, encode_lossless_jpeg, jpegs_of_every_kind
from tests.builders.pictures import decode_image
from workers.errors import ImageError
from workers.images.decoding import make_thumbnail
from workers.images.jpeg import read_frame, scale_of

# The pictures have 66 rows: 8 of them leave an eighth, 9 a quarter, and so on.
SIZES = (8, 7, 9, 16, 15, 17, 32, 33, 34, 65, 66, 67, 140)
# glibc then puts a byte behind each piece of memory, and looks at it when that is freed. Where
# there is no such library, a warning on stderr is all that comes of it.
WATCHED_MEMORY = {
    "LD_PRELOAD": "libc_malloc_debug.so.0",
    "MALLOC_CHECK_": "3",
    "MALLOC_PERTURB_": "165",
}
ADOBE = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\0"


def decode_everything() -> None:
    """Print each kind and size before it is decoded, and what is wrong with the result."""
    for jpeg in jpegs_of_every_kind():
        for size in SIZES if jpeg.is_real else SIZES[::3]:
            print(f"{jpeg.name} at {size}", flush=True)
            print(end=_wrong(jpeg, size))
    print("done")


def _wrong(jpeg, size):
    try:
        make_thumbnail(jpeg.content, size, size)
        pixels = decode_image(jpeg.content, (size, size)).astype(int)
    except ImageError as error:
        return f"WRONG {error}\n" if jpeg.is_real or not 10 < len(str(error)) < 100 else ""
    if not jpeg.is_real:
        return ""
    shown = Image.fromarray(jpeg.pixels).convert("RGB")
    expected = np.asarray(shown.resize((size, size), Image.Resampling.BILINEAR), int)
    differences = np.abs(pixels - expected)
    # Pillow's reduce() ends in smaller blocks, which makes a ramp uneven there.
    is_wrong = differences.mean() > 5 or differences.max() > 16
    return f"WRONG by {differences.max()}, {differences.mean()}\n" if is_wrong else ""


def test_no_kind_of_jpeg_at_any_size_is_written_past_its_memory():
    child = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import decode_everything as d; d()"],
        env={**os.environ, **WATCHED_MEMORY},
        capture_output=True,
        text=True,
    )

    lines = child.stdout.splitlines()
    assert lines[-1] == "done", f"ended at {lines[-1]}: {child.stderr[-300:]}"
    assert [pair for pair in pairwise(lines) if "WRONG" in pair[1]] == []
    assert len(lines) > 1000


@pytest.mark.parametrize("pixels", [GREY, COLOURS], ids=["grey", "RGB"])
def test_a_lossless_jpeg_has_exactly_its_pixels(pixels):
    content = encode_lossless_jpeg(pixels)

    expected = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
    assert np.array_equal(decode_image(content, pixels.shape[:2]), expected)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_only_what_has_a_cosine_transform_is_scaled():
    frames = {jpeg.name: read_frame(jpeg.content) for jpeg in jpegs_of_every_kind()}

    for name, frame in frames.items():
        if name.endswith("SOF8"):
            assert frame is None
            continue
        kind = name.rpartition("as ")[2] if "as SOF" in name else name.rpartition(" ")[0]
        is_scalable = kind in {
            "baseline", "progressive", "arithmetic", "progressive arithmetic",
            "SOF0", "SOF1", "SOF2", "SOF9", "SOF10",
        }  # fmt: skip
        assert scale_of(frame, 8) == (8 if is_scalable else 1), name


@pytest.mark.parametrize(("least", "factor"), [(1, 8), (8, 8), (9, 4), (17, 2), (33, 2), (34, 1)])
def test_neither_side_becomes_smaller_than_asked(least, factor):
    jpeg = next(jpegs_of_every_kind())

    assert scale_of(read_frame(jpeg.content), least) == factor


@pytest.mark.parametrize(
    "between",
    [b"\0", b"\xff\xff", b"\xff\0", ADOBE, b"\xff\xfe\0\x02", b"\xff\xe5\0\0", b"\xff\xd0"],
)
def test_the_header_is_found_behind_whatever_libjpeg_skips(between):
    content = encode_lossless_jpeg(GREY)

    found = read_frame(content[:2] + between + content[2:])

    assert found == (0xC3, 8, 66, 72, 1, between in (b"\0", b"\xff\0"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xda\0\x08",
     b"\xff\xd8\xff\xc0\0\x0b\x08", b"GIF89a\xff\xc0\0\x0b\x08\0\x01\0\x01\x01",
     b"\xff\xd8\xff\xe0\xff\xff\xff\xc0\0\x0b\x08\0\x01\0\x01\x01"],
)  # fmt: skip
def test_what_has_no_frame_has_no_header(content):
    assert read_frame(content) is None


def test_a_jpeg_of_two_sizes_is_refused():
    content = next(jpegs_of_every_kind()).content
    start = content.index(b"\xff\xc0")
    second = content[start : start + 5] + struct.pack(">HH", 8, 8) + content[start + 9 : start + 13]
    twice = content[:start] + content[start : start + 13] + second + content[start + 13 :]

    with pytest.raises(ImageError, match="two sizes"):
        decode_image(twice, (8, 8))
