"""JPEGs of every kind of frame, SOF0 to SOF15.

No library at hand writes lossless ones, so this does. Those with arithmetic coding were made
with libjpeg-turbo out of `GREY` and `COLOURS`, at quality 90.
"""

import base64
import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ROWS, _COLUMNS = np.mgrid[:66, :72]
COLOURS = np.stack([3 * _COLUMNS + 20, 3 * _ROWS + 20, 250 - _COLUMNS - _ROWS], -1).astype(np.uint8)
GREY = np.ascontiguousarray(COLOURS[..., 0])
_INKS = np.concatenate([255 - COLOURS, np.zeros_like(COLOURS[..., :1])], -1)
# 0xC4 and 0xCC are tables; 0xC8 is reserved.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xCC}


class Jpeg(NamedTuple):
    """A JPEG.

    Attributes:
        is_real: It is of the kind that its frame says.
        pixels: What it shows; grey (height, width) or RGB (height, width, 3).
    """

    name: str
    content: bytes
    is_real: bool
    pixels: NDArray[np.uint8]


def jpegs_of_every_kind() -> Iterator[Jpeg]:
    """Yield real JPEGs of each kind that can be made, and the same under other markers."""
    real = list(_real_jpegs())
    for marker, jpeg in real:
        yield jpeg
        for other in sorted(_FRAMES - {marker}):
            yield jpeg._replace(
                name=f"{jpeg.name}, as SOF{other - 0xC0}",
                content=_marked(jpeg.content, marker, other),
                # What a baseline JPEG may do, an extended one may as well.
                is_real=(marker, other) == (0xC0, 0xC1),
            )


def _real_jpegs() -> Iterator[tuple[int, Jpeg]]:
    for name, mode, pixels in (
        ("grey", "L", GREY), ("RGB", "RGB", COLOURS), ("CMYK", "CMYK", _INKS)
    ):  # fmt: skip
        shown = COLOURS if mode == "CMYK" else pixels
        image = Image.fromarray(pixels, mode)
        for marker, is_progressive in ((0xC0, False), (0xC2, True)):
            target = io.BytesIO()
            image.save(target, "JPEG", quality=95, subsampling=0, progressive=is_progressive)
            kind = "progressive" if is_progressive else "baseline"
            yield marker, Jpeg(f"{kind} {name}", target.getvalue(), True, shown)
        # Printers' inks are inverted in a JPEG, since Photoshop wrote them so.
        stored = 255 - pixels if mode == "CMYK" else pixels
        yield 0xC3, Jpeg(f"lossless {name}", encode_lossless_jpeg(stored), True, shown)
    for marker, name, text in _ARITHMETIC:
        shown = GREY if name.endswith("grey") else COLOURS
        yield marker, Jpeg(name, base64.b64decode(text), True, shown)


def _marked(content: bytes, marker: int, other: int) -> bytes:
    assert content.count(bytes((0xFF, marker))) == 1
    return content.replace(bytes((0xFF, marker)), bytes((0xFF, other)))


_CODE_BITS = 5  # 17 categories of differences, each with a code of its own number in 5 bits


def encode_lossless_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Return a JPEG from which `pixels` are read exactly.

    Args:
        pixels: Shape (height, width) for grey; (height, width, 3) for RGB, 4 for CMYK.
    """
    planes = np.atleast_3d(pixels).astype(np.int32)
    height, width, count = planes.shape
    names = b"RGB" if count == 3 else bytes(range(1, count + 1))
    frame = struct.pack(">BHHB", 8, height, width, count)
    frame += b"".join(bytes((name, 0x11, 0)) for name in names)
    table = b"\0" + bytes((0, 0, 0, 0, 17)) + bytes(11) + bytes(range(17))
    scan = bytes((count,)) + b"".join(bytes((name, 0)) for name in names) + b"\1\0\0"
    return (
        b"\xff\xd8"
        + _segment(0xC3, frame)
        + _segment(0xC4, table)
        + _segment(0xDA, scan)
        + _packed(_differences(planes))
        + b"\xff\xd9"
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _differences(planes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return each sample less the one to its left, which is the one above for the first."""
    before = np.empty_like(planes)
    before[:, 1:] = planes[:, :-1]
    before[1:, 0] = planes[:-1, 0]
    before[0, 0] = 128
    return planes - before


def _packed(differences: NDArray[np.int32]) -> bytes:
    bits = "".join(_code(int(value)) for value in differences.ravel())
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def _code(difference: int) -> str:
    size = abs(difference).bit_length()
    if size == 0:
        return f"{0:0{_CODE_BITS}b}"
    value = difference if difference > 0 else difference + (1 << size) - 1
    return f"{size:0{_CODE_BITS}b}{value:0{size}b}"


_ARITHMETIC = (
    (
        0xC9,
        "arithmetic grey",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/yQALCABCAEgBAREA/8wABgAQEAX/2gAIAQEAAD8A/wDr9DVMFS9fCw0j"
        "pchHadomSTrMda6Me/Mni8euvr8o/wDjxdQJNtoYOXTwJDYGEIS0KZqf5PfYuMBKCjDkLHZIgDFPed1UuIqki4fY"
        "TemzLolUrZswDLkXYfqAMBKEXSa3LJe0/VFa8JBv5jmEkjT4J6hURagZKVyzyvPeMQ+bUbGFbusZrCD/2Q==",
    ),
    (
        0xCA,
        "progressive arithmetic grey",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/ygALCABCAEgBAREA/8wABAAQ/9oACAEBAAAAAf8A13HVN52g8TcMgQ7b"
        "30SxL2P3/tE4/8wABBAF/9oACAEBAAEFAhPBfKu0p4kl3BoiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi"
        "IjD/zAAEEAX/2gAIAQEABj8CqP/MAAQQBf/aAAgBAQABPyGoY1Uh2uuMyTX+o+8V8CkkkkkkkP/aAAgBAQAAABBL"
        "xv/MAAQQBf/aAAgBAQABPxCnS3T/2Q==",
    ),
    (
        0xC9,
        "arithmetic RGB",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
        "FBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/yQARCABCAEgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIR"
        "AxEAPwD/AOd9XoKJMhy66yGgOWXgYrt9wu992mbmYLoIHtK0inst+OpNy4/j48M+RY0PSbQ/FS1ERA99sxOVNlMv"
        "bNHNpCHhmtb/AMVteDNMtwwBxEPRjWXbW4pxBAHrFsKSFMdjK3PGJ5QXnUeuScouHqhid5WeL3i3I3Ksfs+hiW14"
        "5qVPrm+tYcAAOWPWnkkCr68n4+6LZToYQ7oupOyS2RfIGPBCn77c1tQXEV0uvAOqAt27sJETkPYRjbGad63bsHsk"
        "I8rHnIT2I3oapR21ZKd4FYU8e6PfUDIoCyrfiyK0TPEEvnihrN56jwWdA6cEc16yBGYY5l/zGXFPwXLXUrsqNokb"
        "Ob3+0Ql4MgpA6neMouJR9uda+dACzP8AjRKOwqoHunSG/nxsSBGPIPQa/QUNm2OaZPzCxuXf8HhY2pxKKU5/rYhN"
        "gfot15A6H1Zw5iJghfw+6C1ud+rx4lPx7PxE8bF+wgJghrpeprCQeF/6pcevvaMHo3KWZUQQ/9k=",
    ),
    (
        0xCA,
        "progressive arithmetic RGB",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
        "FBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/ygARCABCAEgDASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAA"
        "Af8AzweiXtABG0482xiK9jLDp3gMiViNybtNu8ApF0Bm8jgYoZkWXMiYZAVo1tFRCphPc53RO/Z3yK5Jh1ZQUqji"
        "gUhtTISfzOWaziRh8MtKDLik79dq3sYrwwmzCoP+TTW7/AYn/8wABBAF/9oACAEBAAEFAhKhzUeCSdUzIJlOKhsB"
        "QSUxen2hJJJJJJJJJJJJJKESI2oG/8wABBEF/9oACAEDAQE/ARVMpFZbSyP4JE9ZwZank25JAqPvExnUMPTGayeg"
        "/8wABBEF/9oACAECAQE/AUN2m+5POdgCTY2FHOPDVlasyFxhYZSXfL6Yq9RZauT/zAAEEAX/2gAIAQEABj8CqP/M"
        "AAQQBf/aAAgBAQABPyHpeMD/2gAMAwEAAgADAAAAENnAmWVv5hPAJoJZGCZa2Lj23uD/zAAEEQX/2gAIAQMBAT8Q"
        "Iw0H0My5jmGN/V25emC+C11s/8wABBEF/9oACAECAQE/ENMwd8JI+XGS3ZpQkoD/zAAEEAX/2gAIAQEAAT8Q1SIv"
        "2Ch2O4NR+UcVG5Ph9NXHz102el3272QQmxWq1TVR3jCzDkyrYWjpXPWc+5SzYP/Z",
    ),
)
