"""One image file becomes the pixels that a backbone sees; the same way everywhere.

Bottlenecks, classification, evaluation and export checks all call `load_image`, so an
image can never be prepared in two ways.
"""

import hashlib
import importlib
import io
import os
import stat
from dataclasses import dataclass

import numpy as np
from billiard.exceptions import SoftTimeLimitExceeded
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from workers.errors import ImageError

# An allow-list: Pillow has decoders for formats that nobody photographs in, and some
# of them start other programs.
# MPO, several JPEGs in one file, counts as JPEG.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM")
_PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".heif", ".heic")
_OTHERS = (".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = frozenset((*_PHOTOGRAPHS, *_OTHERS))
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1")
MAX_BYTES = 512 * 1024**2
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb
# Pillow loads its decoders when it first meets a file that it does not know, but not when
# it is given a list of formats.
_DECODERS = ("Avif", "Tiff", "WebP", "Ppm")
# Part of every backbone's identity: raise it when the pixels of any image change.
PIXELS_VERSION = 1

Image.preinit()
for _decoder in _DECODERS:
    importlib.import_module(f"PIL.{_decoder}ImagePlugin")
ImageFile.LOAD_TRUNCATED_IMAGES = False
# The size is checked below, before anything is decoded, with a better message.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class LoadedImage:
    """Pixels and the identity of the content they came from.

    Attributes:
        pixels: uint8, RGB, shape (height, width, 3) as asked for.
        digest: SHA-256 of the file, 32 bytes.
    """

    pixels: NDArray[np.uint8]
    digest: bytes


class ContentError(ImageError):
    """The content itself is at fault, so the failure repeats and may be cached.

    Attributes:
        digest: SHA-256 of the file, 32 bytes.
    """

    def __init__(self, message: str, digest: bytes) -> None:
        super().__init__(message)
        self.digest = digest


def load_image(
    path: str, input_size: tuple[int, int], expected: tuple[int, int] | None = None
) -> LoadedImage:
    """Read, check, decode, turn upright, convert to RGB and resize one image.

    Args:
        path: A regular file; links, devices and pipes are not opened.
        input_size: Height and width in pixels; the aspect ratio is not kept, as in the
            codelab.
        expected: Size in bytes and modification time in nanoseconds that were planned.

    Raises:
        ContentError: When the content is no image that can be decoded.
        ImageError: When the file is gone, changed, or cannot be read.
    """
    content = _read(path, expected)
    digest = hashlib.sha256(content).digest()
    try:
        return LoadedImage(decode_image(content, input_size), digest)
    except ImageError as error:
        raise ContentError(str(error), digest) from error
    except MemoryError as error:
        # On a larger machine it may succeed, so it says nothing about the content.
        raise ImageError("cannot be decoded: needs more memory than there is") from error


def decode_image(content: bytes, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return RGB pixels of shape (height, width, 3) for the bytes of an image file.

    Raises:
        ImageError: For every content that cannot be decoded, with the reason.
        MemoryError: When this machine has too little.
    """
    if not content:
        raise ImageError("empty file")
    try:
        return _decode(content, input_size)
    except (ImageError, MemoryError, SoftTimeLimitExceeded):
        raise
    # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, TypeError,
    # IndexError and more on damaged files; whatever it is, it is this image's row and
    # nobody else's.
    except Exception as error:
        raise ImageError(_reason(error, content)) from error


def version_of(found: os.stat_result) -> int:
    """Return the modification time of a file in nanoseconds, as far as 64 bits go."""
    return max(-(2**63), min(found.st_mtime_ns, 2**63 - 1))


def looks_like_image(path: str) -> bool:
    """Return whether the first bytes are those of an image format, for names without ending."""
    try:
        head = _open_regular(path)
    except ImageError:
        return False
    with head:
        start = head.read(16)
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    return start.startswith(signatures) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _open_regular(path: str) -> io.BufferedReader:
    try:
        # O_NONBLOCK: a FIFO that took the file's place must not hang the worker.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError("not a regular file")
    return os.fdopen(descriptor, "rb")


def _read(path: str, expected: tuple[int, int] | None) -> bytes:
    with _open_regular(path) as file:
        found = os.fstat(file.fileno())
        if expected is not None and (found.st_size, version_of(found)) != expected:
            raise ImageError("changed after the run was planned; submit the folder again")
        if found.st_size > MAX_BYTES:
            raise ImageError(f"too large: {found.st_size} bytes, the limit is {MAX_BYTES}")
        try:
            return file.read()
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}") from error


def _decode(content: bytes, input_size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = input_size
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"too large: {image.width}x{image.height} pixels, the limit is {MAX_PIXELS}"
            )
        # JPEG can be decoded at 1/2, 1/4 or 1/8; keep twice the pixels that are needed.
        # Five times as fast on 12-megapixel photographs.
        image.draft(image.mode, (2 * max(input_size), 2 * max(input_size)))
        image.load()
        upright = _upright(image)
        return np.asarray(_to_rgb(upright).resize((width, height), Image.Resampling.BILINEAR))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (MemoryError, SoftTimeLimitExceeded):
        raise
    # A broken EXIF block raises almost anything; the pixels are good all the same.
    except Exception:
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _wide_grey_to_rgb(image)
    if image.has_transparency_data:
        # What a viewer shows: hidden colours under full transparency are often noise.
        image = image.convert("RGBA")
        backdrop = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(backdrop, image).convert("RGB")
    return image.convert("RGB")


def _wide_grey_to_rgb(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 and turns such a picture white.
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, posinf=0, neginf=0)
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        values = (values - low) / (high - low or 1) * 255
    elif image.mode != "I" or values.max() > 255:
        values = values / 257
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _reason(error: Exception, content: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        if content[4:12] in _HEIF:
            return "HEIF is not supported: convert it to JPEG"
        return "not an image: no known format"
    # Messages of decoders may hold addresses (<_io.BytesIO object at 0x...>).
    text = str(error).split(" <", 1)[0].strip() or type(error).__name__
    return f"cannot be decoded: {text}"
