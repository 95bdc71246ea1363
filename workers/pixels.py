"""The bytes of an image file become RGB pixels, or a reason why not."""

import contextlib
import importlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from billiard.exceptions import SoftTimeLimitExceeded
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from workers.distortions import PLAIN, Draw
from workers.errors import ImageError

# An allow-list: Pillow has decoders for formats that nobody photographs in, and some
# of them start other programs.
# MPO, several JPEGs in one file, counts as JPEG.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM")
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb
# Pillow loads its decoders when it first meets a file that it does not know, but not when
# it is given a list of formats.
_DECODERS = ("Avif", "Tiff", "WebP", "Ppm")
_FILTER = Image.Resampling.BILINEAR
_THUMBNAIL_QUALITY = 72
# Part of every backbone's identity: raise it when the pixels of any image or variant change.
PIXELS_VERSION = 2

Image.preinit()
for _decoder in _DECODERS:
    importlib.import_module(f"PIL.{_decoder}ImagePlugin")
ImageFile.LOAD_TRUNCATED_IMAGES = False
# The size is checked below, before anything is decoded, with a better message.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, from which pixels can be cut any number of times.

    Attributes:
        image: In a mode that can be resized as it is: RGB, L, RGBa or F.
        turn: What makes it upright.
        shades: For F, the values that are black and white.
    """

    image: Image.Image
    turn: Image.Transpose | None
    shades: tuple[float, float] = (0, 255)


def decode_picture(content: bytes, input_size: tuple[int, int]) -> Picture:
    """Return the picture in the bytes of an image file, ready for pixels of `input_size`.

    Raises:
        ImageError: For every content that cannot be decoded, with the reason.
        MemoryError: When this machine has too little.
    """
    if not content:
        raise ImageError("empty file")
    with _reasons(content):
        # Twice the pixels that are needed are kept.
        return _decode(content, 2 * max(input_size))


def cut_pixels(picture: Picture, input_size: tuple[int, int], draw: Draw) -> NDArray[np.uint8]:
    """Return RGB pixels of shape (height, width, 3) of a picture, distorted as drawn.

    Raises:
        ImageError, MemoryError: As `decode_picture`.
    """
    with _reasons(b""):
        small = _resize(picture, input_size, draw)
        upright = small if picture.turn is None else small.transpose(picture.turn)
        pixels = np.asarray(upright)
    if draw.is_flipped:
        pixels = pixels[:, ::-1]
    if draw.brightness != 1:
        bright = pixels * np.float32(draw.brightness)
        pixels = np.rint(np.minimum(bright, 255)).astype(np.uint8)
    return pixels


def make_thumbnail(content: bytes, height: int, widest: int) -> bytes:
    """Return a small JPEG of an image file, upright, its aspect ratio kept.

    Args:
        height, widest: The box in pixels that it fits into; it is never made larger.

    Raises:
        ImageError, MemoryError: As `decode_picture`.
    """
    target = io.BytesIO()
    if not content:
        raise ImageError("empty file")
    with _reasons(content):
        picture = _decode(content, height)
        size = picture.image.size[:: -1 if picture.turn in _ON_ITS_SIDE else 1]
        scale = min(1.0, height / size[1], widest / size[0])
        fitted = max(1, round(scale * size[1])), max(1, round(scale * size[0]))
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


def _decode(content: bytes, least: int) -> Picture:
    """Return a picture of which neither side has become smaller than `least` pixels."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"too large: {image.width}x{image.height} pixels, the limit is {MAX_PIXELS}"
            )
        # JPEG can be decoded at 1/2, 1/4 or 1/8: five times as fast on 12-megapixel
        # photographs.
        image.draft(image.mode, (least, least))
        image.load()
        turn = _turn(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return _wide_grey(image, turn)
        if image.has_transparency_data:
            # What a viewer shows: hidden colours under full transparency are often noise.
            # They must not be mixed into their neighbours, so they are multiplied away.
            layered = image if image.mode == "RGBA" else image.convert("RGBA")
            return Picture(layered.convert("RGBa"), turn)
        return Picture(image if image.mode in ("RGB", "L") else image.convert("RGB"), turn)


# EXIF orientation, tag 0x0112 -> what makes the picture upright (as ImageOps.exif_transpose).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (MemoryError, SoftTimeLimitExceeded):
        raise
    # A broken EXIF block raises almost anything; the pixels are good all the same.
    except Exception:
        return None


def _wide_grey(image: Image.Image, turn: Image.Transpose | None) -> Picture:
    # Pillow's own conversion clips at 255 and turns such a picture white.
    values = np.asarray(image).astype(np.float32)
    np.nan_to_num(values, copy=False, posinf=0, neginf=0)
    low, high = _range(image, float(values.min()), float(values.max()))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = high
    return Picture(Image.fromarray(values), turn, (low, high))


def _resize(picture: Picture, input_size: tuple[int, int], draw: Draw) -> Image.Image:
    """Return a part of the picture as RGB; made small before anything else is done to it."""
    image, (height, width) = picture.image, input_size
    size = (height, width) if picture.turn in _ON_ITS_SIDE else (width, height)
    left, top, right, lower = draw.box
    box = (left * image.width, top * image.height, right * image.width, lower * image.height)
    small = image.resize(size, _FILTER, box)
    if small.mode == "RGBa":
        backdrop = Image.new("RGBA", size, "white")
        return Image.alpha_composite(backdrop, small.convert("RGBA")).convert("RGB")
    if small.mode == "F":
        low, high = picture.shades
        shades = (np.asarray(small).astype(np.float64) - low) / (high - low) * 255
        small = Image.fromarray(np.clip(np.rint(shades), 0, 255).astype(np.uint8))
    return small.convert("RGB")


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
