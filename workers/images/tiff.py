"""TIFF as it is meant, where Pillow reads something else out of it."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import ImageFile, ImagePalette, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Tags
from PIL.TiffImagePlugin import TiffImageFile

from workers.errors import ImageError
from workers.images.tiff_tags import as_small_tiff, read_directory

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 258, 259, 262, 277
_MAX_SAMPLE, _PLANES, _COLOUR_MAP, _EXTRA, _SAMPLE_FORMAT = 281, 284, 320, 338, 339
_GDAL_NODATA, _DNG_VERSION = 42113, 50706
_SIGNED, _FLOAT = 2, 3
_KINDS = {1: "", _SIGNED: " signed", _FLOAT: " floating-point"}
_PHOTOMETRICS = {
    0: "white-is-zero grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr",
    8: "Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "raw sensor", 32844: "LogL", 32845: "LogLuv",
    34892: "linear raw",
}  # fmt: skip
# libtiff gives numbers in the order of this machine, whatever that of the file.
_NATIVE = {
    "F;32F": "F;32NF", "F;32BF": "F;32NF", "I;16S": "I;16NS", "I;16BS": "I;16NS",
    "I;32S": "I;32NS", "I;32BS": "I;32NS", "I;32B": "I;32N",
}  # fmt: skip
# What Pillow can read, but does not know under these tags.
for _order, _mode, _sixteen, _thirty_two in (
    (TiffImagePlugin.II, "I;16", "I;16", "I;32S"),
    (TiffImagePlugin.MM, "I;16B", "I;16B", "I;32BS"),
):
    for _zero in (0, 1):
        for _bits, _row in (
            (12, ("I;16", "I;12")), (16, (_mode, _sixteen)), (32, ("I", _thirty_two))
        ):  # fmt: skip
            TiffImagePlugin.OPEN_INFO.setdefault((_order, _zero, (1,), 1, (_bits,), ()), _row)


@dataclass(frozen=True)
class GreyKind:
    """What the numbers of a grey picture mean.

    Attributes:
        bits: Of a sample in the file.
        is_signed, is_float: Otherwise they are integers from 0.
        is_inverted: 0 is white.
        nodata: The value of pixels that hold nothing.
        largest: The largest value that the file says it has, if it does.
    """

    bits: int
    is_signed: bool = False
    is_float: bool = False
    is_inverted: bool = False
    nodata: float | None = None
    largest: int | None = None


def kind_of(image: TiffImageFile) -> GreyKind:
    """Return what the numbers of a grey TIFF mean."""
    sample_format = _first(image, _SAMPLE_FORMAT, 1)
    return GreyKind(
        _first(image, _BITS, 1),
        is_signed=sample_format == _SIGNED,
        is_float=sample_format == _FLOAT,
        is_inverted=_first(image, _PHOTOMETRIC, 1) == 0,
        nodata=read_nodata(str(image.tag_v2.get(_GDAL_NODATA, ""))),
        largest=_first(image, _MAX_SAMPLE, 0) or None,
    )


def mend_tiff(image: TiffImageFile, reopen: Callable[[], TiffImageFile]) -> TiffImageFile:
    """Return an open TIFF that will be read right.

    Args:
        reopen: Opens the same content again.
    """
    has_planes = _first(image, _PLANES, 1) == 2
    is_compressed = _first(image, _COMPRESSION, 1) != 1
    is_plain = _first(image, _BITS, 1) == 8 and _EXTRA not in image.tag_v2
    if has_planes and not is_compressed and not is_plain:
        # By itself, Pillow takes each byte of a plane for a sample.
        with by_libtiff():
            image = reopen()
    image.tile = [_native(tile) for tile in image.tile]
    colours = image.tag_v2.get(_COLOUR_MAP, ())
    if image.mode in ("P", "PA") and colours and max(colours) < 256:
        # They should have 16 bits; some programs write 8.
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    return image


def has_misread_planes(image: ImageFile.ImageFile) -> bool:
    """Whether grey and something else lie in two planes, which Pillow reads as one."""
    if not isinstance(image, TiffImageFile) or _first(image, _PLANES, 1) != 2:
        return False
    is_packed = _first(image, _COMPRESSION, 1) != 1
    is_alone = image.mode == "L" and _first(image, _SAMPLES, 1) > 1 and not is_packed
    return is_alone or image.mode in ("LA", "La")


@contextlib.contextmanager
def by_libtiff() -> Iterator[None]:
    """Let Pillow give every TIFF that is opened meanwhile to libtiff."""
    before = TiffImagePlugin.READ_LIBTIFF
    TiffImagePlugin.READ_LIBTIFF = True
    try:
        yield
    finally:
        TiffImagePlugin.READ_LIBTIFF = before


def check_strips(content: bytes) -> None:
    """Refuse a TIFF that lacks data: Pillow reads black there, or the header as pixels.

    Raises:
        ImageError: Says how much is missing.
    """
    directory = read_directory(content)
    if directory is None:
        # Pillow takes those that are there, and says so in a warning of Python.
        raise ImageError("cannot be decoded: TIFF whose tags are cut off")
    # The others libtiff unpacks, and refuses itself.
    if directory.number(_COMPRESSION, 1) not in (1, 32773):
        return
    missing, needed = directory.missing
    if missing:
        raise ImageError(f"cannot be decoded: TIFF without {missing} of its {needed} parts")


def describe_tiff_content(content: bytes) -> str | None:
    """Return what kind of TIFF Pillow would not open, or None when its tags are damaged."""
    found = read_directory(content)
    if found is None or not found.is_complete:
        return None
    if _DNG_VERSION in found.tags:
        return "raw camera TIFF (DNG)"
    with contextlib.suppress(Exception):
        small = as_small_tiff(content)
        directory = Tags(small[:8])
        file = io.BytesIO(small)
        file.seek(directory.next)
        directory.load(file)
        return _describe(directory)
    return None


def _describe(tags: Tags) -> str:
    bits, kind = _number(tags, _BITS, 1), _KINDS.get(_number(tags, _SAMPLE_FORMAT, 1), "")
    channels = _number(tags, _SAMPLES, 1)
    colours = _PHOTOMETRICS.get(_number(tags, _PHOTOMETRIC, 1), "colours of another kind")
    return f"TIFF of{kind} {bits}-bit {colours}, {channels} channel{'s'[: channels != 1]}"


def _native(tile: ImageFile._Tile) -> ImageFile._Tile:
    if tile.codec_name != "libtiff" or not isinstance(tile.args, tuple):
        return tile
    return tile._replace(args=(_NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:]))


def read_nodata(text: str) -> float | None:
    """Return the number in the tag GDAL_NODATA."""
    with contextlib.suppress(ValueError):
        return float(text.strip("\0 "))
    return None


def _first(image: TiffImageFile, tag: int, default: int) -> int:
    return _number(image.tag_v2, tag, default)


def _number(tags: Tags, tag: int, default: int) -> int:
    found = tags.get(tag, default)
    first = found[0] if isinstance(found, tuple) and found else found
    return int(first) if isinstance(first, (int, float)) else default
