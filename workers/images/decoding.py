"""The bytes of an image file become RGB pixels, or a reason why not.

Pillow says what a file is and decodes everything; libjpeg-turbo takes the plain JPEGs.
"""

import contextlib
import importlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from billiard.exceptions import SoftTimeLimitExceeded
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from workers.errors import ImageError
from workers.images.distortions import PLAIN
from workers.images.files import FORMATS
from workers.images.jpeg import Frame, decode_jpeg, read_frame
from workers.images.resizing import ORIENTATIONS, Picture, Pixels, cut_pixels

_FORMAT_NAMES = tuple(FORMATS)
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
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
        return _decode(content, max(input_size))


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
        picture = _decode(content, height)
        size = picture.upright_size
        scale = min(1.0, height / size[0], widest / size[1])
        fitted = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
        pixels = cut_pixels(picture, fitted, PLAIN)
        Image.fromarray(pixels).save(target, "JPEG", quality=_THUMBNAIL_QUALITY)
    return target.getvalue()


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
        raise ImageError(_reason(error, content)) from error


def open_header(file: BinaryIO) -> Image.Image:
    """Open an image of a format in FORMATS without decoding it; raises what Pillow raises."""
    return Image.open(file, formats=_FORMAT_NAMES)


def _open(content: bytes) -> Image.Image:
    try:
        return open_header(io.BytesIO(content))
    except OSError as error:
        # libwebp has one answer for a damaged file and for too little memory.
        if content[8:12] == b"WEBP" and not isinstance(error, UnidentifiedImageError):
            raise UncertainError(_reason(error, content)) from error
        raise


def _decode(content: bytes, least: int) -> Picture:
    """Return a picture of which neither side has become smaller than `least` pixels."""
    with _open(content) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"too large: {image.width}x{image.height} pixels, the limit is {MAX_PIXELS}"
            )
        if image.format in ("JPEG", "MPO"):
            frame = _check_frame(content, image)
            if frame and frame.is_scalable and image.mode in ("RGB", "L"):
                # Whatever it refuses, Pillow judges.
                with contextlib.suppress(ValueError):
                    return Picture(decode_jpeg(content, frame, least), _orientation(image))
            if frame and frame.is_scalable:
                image.draft(image.mode, (least, least))
        image.load()
        # Asked earlier, it would decode some formats itself, and hide what is wrong with them.
        orientation = _orientation(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return _wide_grey(image, orientation)
        if image.has_transparency_data:
            # What a viewer shows: hidden colours under full transparency are often noise.
            # They must not be mixed into their neighbours, so they are multiplied away.
            layered = image if image.mode == "RGBA" else image.convert("RGBA")
            return Picture(_reduce(layered.convert("RGBa"), least), orientation)
        plain = image if image.mode in ("RGB", "L") else image.convert("RGB")
        return Picture(_reduce(plain, least), orientation)


def _reduce(image: Image.Image, least: int) -> Pixels:
    # An array of a large picture would be a second copy of it; twice the pixels are kept.
    factor = max(1, image.width // (2 * least)), max(1, image.height // (2 * least))
    return np.asarray(image if factor == (1, 1) else image.reduce(factor))


def _check_frame(content: bytes, image: Image.Image) -> Frame | None:
    frame = read_frame(content)
    # Pillow makes room for the size that it has read, libjpeg fills what it reads itself.
    if frame and (frame.width, frame.height) != image.size:
        raise ImageError("cannot be decoded: its headers give two sizes")
    return frame


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(found) if found in ORIENTATIONS else 1
    except (MemoryError, SoftTimeLimitExceeded):
        raise
    # A broken EXIF block raises almost anything; the pixels are good all the same.
    except Exception:
        return 1


def _wide_grey(image: Image.Image, orientation: int) -> Picture:
    # Pillow's own conversion clips at 255 and turns such a picture white.
    values = np.asarray(image).astype(np.float32)
    np.nan_to_num(values, copy=False, posinf=0, neginf=0)
    low, high = _range(image, float(values.min()), float(values.max()))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = high
    return Picture(values, orientation, (low, high))


def _range(image: Image.Image, lowest: float, highest: float) -> tuple[float, float]:
    """Return the values that are black and white."""
    if image.mode == "F" or highest > 65535:
        return lowest, highest if highest > lowest else lowest + 1
    # A netpbm file says that it has 16 bits; others with 32 may hold bytes.
    if image.mode != "I" or image.format == "PPM" or highest > 255:
        return 0, 65535
    return 0, 255


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        if content[4:12] in _HEIF:
            return "HEIF is not supported: convert it to JPEG"
        return "not an image: no known format"
    # Messages of decoders may hold addresses (<_io.BytesIO object at 0x...>).
    text = str(error).split(" <", 1)[0].strip() or type(error).__name__
    return f"cannot be decoded: {text}"
