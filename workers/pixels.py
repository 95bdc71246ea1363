"""The bytes of an image file become RGB pixels, or a reason why not."""

import contextlib
import importlib
import io
from collections.abc import Callable, Iterator

import numpy as np
from billiard.exceptions import SoftTimeLimitExceeded
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

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
# Part of every backbone's identity: raise it when the pixels of any image change.
PIXELS_VERSION = 2

Image.preinit()
for _decoder in _DECODERS:
    importlib.import_module(f"PIL.{_decoder}ImagePlugin")
ImageFile.LOAD_TRUNCATED_IMAGES = False
# The size is checked below, before anything is decoded, with a better message.
Image.MAX_IMAGE_PIXELS = None


def decode_image(content: bytes, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return RGB pixels of shape (height, width, 3) for the bytes of an image file.

    Raises:
        ImageError: For every content that cannot be decoded, with the reason.
        MemoryError: When this machine has too little.
    """
    height, width = input_size
    with _image_errors(content):
        # Twice the pixels that are needed are kept.
        return np.asarray(_decode(content, 2 * max(input_size), lambda _: (width, height)))


def make_thumbnail(content: bytes, height: int, widest: int) -> bytes:
    """Return a small JPEG of an image file, upright, its aspect ratio kept.

    Args:
        height, widest: The box in pixels that it fits into; it is never made larger.

    Raises:
        ImageError: For every content that cannot be decoded, with the reason.
        MemoryError: When this machine has too little.
    """

    def fit(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(1.0, height / size[1], widest / size[0])
        return max(1, round(scale * size[0])), max(1, round(scale * size[1]))

    target = io.BytesIO()
    with _image_errors(content):
        _decode(content, height, fit).save(target, "JPEG", quality=_THUMBNAIL_QUALITY, comment=b"")
    return target.getvalue()


@contextlib.contextmanager
def _image_errors(content: bytes) -> Iterator[None]:
    if not content:
        raise ImageError("empty file")
    try:
        yield
    except (ImageError, MemoryError, SoftTimeLimitExceeded):
        raise
    # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, TypeError,
    # IndexError and more on damaged files; whatever it is, it is this image's row and
    # nobody else's.
    except Exception as error:
        raise ImageError(_reason(error, content)) from error


def _decode(
    content: bytes, least: int, fit: Callable[[tuple[int, int]], tuple[int, int]]
) -> Image.Image:
    """Return the upright RGB picture in the (width, height) that `fit` gives for its own.

    Args:
        least: Pixels of either side below which no decoder may go.
    """
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
        lies = turn in _ON_ITS_SIDE
        width, height = fit((image.height, image.width) if lies else image.size)
        # Made small before anything else: what comes after works on a few pixels.
        small = _resize(image, (height, width) if lies else (width, height))
        return small if turn is None else small.transpose(turn)


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


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture as RGB in another size, with few bytes a pixel on the way."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _resize_wide_grey(image, size)
    if image.has_transparency_data:
        # What a viewer shows: hidden colours under full transparency are often noise. They
        # must not be mixed into their neighbours either, so they are multiplied away first.
        layered = image if image.mode == "RGBA" else image.convert("RGBA")
        weighted = layered.convert("RGBa").resize(size, _FILTER)
        backdrop = Image.new("RGBA", size, "white")
        return Image.alpha_composite(backdrop, weighted.convert("RGBA")).convert("RGB")
    plain = image if image.mode in ("RGB", "L") else image.convert("RGB")
    return plain.resize(size, _FILTER).convert("RGB")


def _resize_wide_grey(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    # Pillow's own conversion clips at 255 and turns such a picture white.
    values = np.asarray(image).astype(np.float32)
    np.nan_to_num(values, copy=False, posinf=0, neginf=0)
    low, high = _range(image, float(values.min()), float(values.max()))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = high
    small = np.asarray(Image.fromarray(values).resize(size, _FILTER))
    shades = (small.astype(np.float64) - low) / (high - low) * 255
    return Image.fromarray(np.clip(np.rint(shades), 0, 255).astype(np.uint8)).convert("RGB")


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
