"""The bytes of an image file become RGB pixels, or a reason why not.

Pillow says what a file is and decodes everything; libjpeg-turbo takes the plain JPEGs.
"""

import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from billiard.exceptions import SoftTimeLimitExceeded
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from workers.errors import ImageError
from workers.images.distortions import PLAIN
from workers.images.files import FORMATS
from workers.images.jpeg import (
    END,
    NO_END,
    Frame,
    damage_of,
    decode_jpeg,
    find_damage,
    is_whole_without_end,
    read_frame,
)
from workers.images.netpbm import read_netpbm
from workers.images.odd_colours import picture_of
from workers.images.odd_tiff import read_samples
from workers.images.png import drop_false_transparency, drop_odd_chunks, mend_transparency
from workers.images.refusals import explain
from workers.images.resizing import ORIENTATIONS, Picture, Pixels, cut_pixels
from workers.images.tiff import by_libtiff, check_strips, has_misread_planes, mend_tiff
from workers.images.tiff_tags import as_small_tiff
from workers.images.wide_grey import is_wide_grey, read_wide_grey

_FORMAT_NAMES = tuple(FORMATS)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0")
_EXIF = re.compile(rb"\xff\xe1..Exif\0\0", re.DOTALL)
_FARTHEST_EXIF = 128 * 1024
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb
_THUMBNAIL_QUALITY = 72

# Given a list of formats, Pillow does not load all of their decoders itself.
for _row in FORMATS.values():
    importlib.import_module(f"PIL.{_row.plugin}ImagePlugin")
ImageFile.LOAD_TRUNCATED_IMAGES = False
# The size is checked below, before anything is decoded, with a better message.
Image.MAX_IMAGE_PIXELS = None


class UncertainError(ImageError):
    """An image cannot be decoded: it is damaged, or this machine has too little memory."""


def decode_picture(content: bytes, input_size: tuple[int, int]) -> Picture:
    """Return the picture in the bytes of an image file, ready for pixels of `input_size`.

    Raises:
        ImageError: For every content that cannot be decoded, with the reason.
        UncertainError: When the content may be good.
        MemoryError: When this machine has too little.
    """
    if not content:
        raise ImageError("empty file")
    with _reasons(content):
        return _decode(_mend_content(content), max(input_size))


def make_thumbnail(content: bytes, height: int, widest: int) -> bytes:
    """Return a small JPEG of an image file, upright, its aspect ratio kept.

    Args:
        height, widest: The box in pixels that it fits into; it is never made larger.

    Raises:
        ImageError, MemoryError: See `decode_picture`.
    """
    target = io.BytesIO()
    if not content:
        raise ImageError("empty file")
    with _reasons(content):
        picture = _decode(_mend_content(content), height)
        size = picture.upright_size
        scale = min(1.0, height / size[0], widest / size[1])
        fitted = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
        pixels = cut_pixels(picture, fitted, PLAIN)
        Image.fromarray(pixels).save(target, "JPEG", quality=_THUMBNAIL_QUALITY)
    return target.getvalue()


def _mend_content(content: bytes) -> bytes:
    return as_small_tiff(drop_false_transparency(content))


@contextlib.contextmanager
def _reasons(content: bytes) -> Iterator[None]:
    try:
        yield
    except (ImageError, MemoryError, SoftTimeLimitExceeded):
        raise
    # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, TypeError,
    # IndexError and more on damaged files; whatever it is, it is this image's row and
    # nobody else's.
    except Exception as error:
        raise ImageError(explain(error, content)) from error


def open_header(file: BinaryIO) -> ImageFile.ImageFile:
    """Open an image of a format in FORMATS without decoding it; raises what Pillow raises."""
    return Image.open(file, formats=_FORMAT_NAMES)


def _open(content: bytes) -> ImageFile.ImageFile:
    try:
        return open_header(io.BytesIO(content))
    except OSError as error:
        is_unknown = isinstance(error, UnidentifiedImageError)
        # libwebp has one answer for a damaged file and for too little memory.
        if content[8:12] == b"WEBP" and not is_unknown:
            raise UncertainError(explain(error, content)) from error
        if is_unknown and content[:4] in _TIFF:
            # By itself, Pillow refuses planes that libtiff reads.
            with by_libtiff():
                return open_header(io.BytesIO(content))
        raise


def _decode(content: bytes, least: int) -> Picture:
    """Return a picture of which neither side has become smaller than `least` pixels."""
    frame = read_frame(content)
    try:
        return _decode_framed(content, frame, least)
    except (MemoryError, SoftTimeLimitExceeded, ImageError):
        raise
    # Whatever Pillow raises over a part of the file that viewers do without.
    except Exception as error:
        # A memory card or a copy that broke off may have left zeros.
        for bare in {content, content.rstrip(b"\0")}:
            if frame and not bare.endswith(END) and is_whole_without_end(bare, frame):
                return _decode(bare + END, least)
        if rest := drop_odd_chunks(content, error):
            return _decode_framed(rest, None, least)
        raise


def _decode_framed(content: bytes, frame: Frame | None, least: int) -> Picture:
    try:
        image = _open(content)
    except (MemoryError, SoftTimeLimitExceeded, ImageError):
        raise
    # Pillow raises almost anything over one odd segment in the header of a good JPEG.
    except Exception:
        if picture := _decode_odd_tiff(content):
            return picture
        if frame is None or not frame.is_plain:
            raise
        return _decode_unopened(content, frame, least)
    with image:
        _check_size(image.width, image.height)
        damage = None
        if image.format in ("JPEG", "MPO") and frame:
            _check_frame(frame, image)
            if frame.is_plain and image.mode in ("RGB", "L"):
                try:
                    return Picture(decode_jpeg(content, frame, least), _orientation(image))
                # Whatever it refuses, Pillow judges.
                except ValueError as warning:
                    damage = damage_of(str(warning), content, frame)
            elif frame.is_scalable and image.mode == "CMYK":
                damage = find_damage(content, frame)
            if frame.is_scalable:
                image.draft(image.mode, (least, least))
        return replace(_decode_opened(content, image, least), damage=damage)


def _decode_odd_tiff(content: bytes) -> Picture | None:
    if content[:4] not in _TIFF:
        return None
    check_strips(content)
    samples = read_samples(content)
    return picture_of(samples) if samples else None


def _decode_opened(content: bytes, opened: ImageFile.ImageFile, least: int) -> Picture:
    if has_misread_planes(opened) and (picture := _decode_odd_tiff(content)):
        return picture
    image = _mend(content, opened)
    image.load()
    # Asked earlier, it would decode some formats itself, and hide what is wrong with them.
    orientation = _orientation(image)
    if is_wide_grey(image):
        return read_wide_grey(image, orientation)
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        # What a viewer shows: hidden colours under full transparency are often noise.
        # They must not be mixed into their neighbours, so they are multiplied away.
        layered = image if image.mode == "RGBA" else image.convert("RGBA")
        return Picture(_reduce(layered.convert("RGBa"), least), orientation)
    plain = image if image.mode in ("RGB", "L") else image.convert("RGB")
    return Picture(_reduce(plain, least), orientation)


def _decode_unopened(content: bytes, frame: Frame, least: int) -> Picture:
    """Return the picture of a JPEG that Pillow takes for none."""
    _check_size(frame.width, frame.height)
    orientation = _orientation_in(content)
    try:
        return Picture(decode_jpeg(content, frame, least), orientation)
    except ValueError as warning:
        if NO_END in str(warning):
            raise OSError("image file is truncated") from warning
        values = decode_jpeg(content, frame, least, is_strict=False)
        return Picture(values, orientation, damage=damage_of(str(warning), content, frame))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"too large: {width}x{height} pixels, the limit is {MAX_PIXELS}")


def _check_frame(frame: Frame, image: Image.Image) -> None:
    # Pillow makes room for the size that it has read, libjpeg fills what it reads itself.
    if (frame.width, frame.height) != image.size:
        raise ImageError("cannot be decoded: its headers give two sizes")


def _reduce(image: Image.Image, least: int) -> Pixels:
    # An array of a large picture would be a second copy of it; twice the pixels are kept.
    factor = max(1, image.width // (2 * least)), max(1, image.height // (2 * least))
    return np.asarray(image if factor == (1, 1) else image.reduce(factor))


def _orientation_in(content: bytes) -> int:
    """Return the orientation of a JPEG that Pillow does not open."""
    found = _EXIF.search(content, 0, _FARTHEST_EXIF)
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        exif.load(content[found.start() + 4 : found.start() + 4 + 65533] if found else b"")
    return _valid_orientation(exif)


def _orientation(image: Image.Image) -> int:
    try:
        return _valid_orientation(image.getexif())
    except (MemoryError, SoftTimeLimitExceeded):
        raise
    # A broken EXIF block raises almost anything; the pixels are good all the same.
    except Exception:
        return 1


def _valid_orientation(exif: Image.Exif) -> int:
    found = exif.get(ExifTags.Base.Orientation, 1)
    return int(found) if found in ORIENTATIONS else 1


def _mend(content: bytes, image: ImageFile.ImageFile) -> Image.Image:
    """Return the open image, or another, that Pillow will read as it is meant."""
    if image.format == "PNG":
        mend_transparency(content, image)
    elif image.format == "PPM":
        return read_netpbm(content, image) or image
    elif isinstance(image, TiffImageFile):
        check_strips(content)
        return mend_tiff(image, lambda: TiffImageFile(io.BytesIO(content)))
    return image
