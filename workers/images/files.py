"""The files that hold images: which ones may, and their bytes."""

import errno
import io
import os
import re
from typing import NamedTuple

from workers.errors import ImageError, StorageError, UnreachableError
from workers.storage.regular_files import NotRegularError, open_regular_file


class ImageFormat(NamedTuple):
    """One image format.

    Attributes:
        endings: Of file names, in lower case.
        plugin: Pillow's decoder, a module ``PIL.{plugin}ImagePlugin``.
        start: Pattern of the first bytes of a file whose name has no ending; None where such
            a file is not taken for an image.
    """

    endings: tuple[str, ...]
    plugin: str
    start: bytes | None = None


# By Pillow's names. An allow-list: Pillow has decoders for formats that nobody photographs
# in, and some of them start other programs. MPO, several JPEGs in one file, counts as JPEG.
FORMATS = {
    "JPEG": ImageFormat((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "Jpeg", rb"\xff\xd8\xff"),
    "PNG": ImageFormat((".png", ".apng"), "Png", rb"\x89PNG\r\n"),
    "GIF": ImageFormat((".gif",), "Gif", rb"GIF8"),
    "BMP": ImageFormat((".bmp", ".dib"), "Bmp", rb"BM"),
    "WEBP": ImageFormat((".webp",), "WebP", rb"RIFF.{4}WEBP"),
    "TIFF": ImageFormat((".tif", ".tiff"), "Tiff", rb"II\*\0|MM\0\*"),
    "AVIF": ImageFormat((".avif",), "Avif"),
    "PPM": ImageFormat((".ppm", ".pgm", ".pbm", ".pnm"), "Ppm"),
}
# Photographs that are not read, but become rows that say so.
UNREAD_ENDINGS = (".heif", ".heic")
ENDINGS = frozenset(UNREAD_ENDINGS).union(*(row.endings for row in FORMATS.values()))
_START = re.compile(b"|".join(row.start for row in FORMATS.values() if row.start), re.DOTALL)
MAX_BYTES = 512 * 1024**2
# The fault of the machine or the mount, not of this file: another attempt may succeed.
_STORAGE_ERRORS = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV,
}  # fmt: skip


def version_of(found: os.stat_result) -> int:
    """Return the modification time of a file in nanoseconds, as far as 64 bits go."""
    return max(-(2**63), min(found.st_mtime_ns, 2**63 - 1))


def looks_like_image(path: str) -> bool:
    """Whether a file whose name has no ending begins like an image."""
    try:
        with open_regular(path) as file:
            return _START.match(file.read(16)) is not None
    except ImageError:
        return False


def has_ending_of(name: str, format_name: str) -> bool:
    """Whether a file of this format may have this name; a name without ending fits any."""
    ending = os.path.splitext(name)[1].lower()
    # Some cameras write MPO under .JPG.
    return not ending or ending in FORMATS["JPEG" if format_name == "MPO" else format_name].endings


def is_folder_with_files(path: str) -> bool:
    """Whether a folder exists and holds anything; one whose mount has vanished does not."""
    try:
        with os.scandir(path) as entries:
            return any(entries)
    except OSError:
        return False


def open_regular(path: str) -> io.BufferedReader:
    """Open a file that is no link, pipe or device.

    Raises:
        UnreachableError: When it is one, or is gone, or may not be read.
        StorageError: When the machine or the mount fails.
    """
    try:
        return open_regular_file(path)
    except OSError as error:
        if isinstance(error, IsADirectoryError | NotRegularError) and error.errno != errno.ELOOP:
            raise UnreachableError("not a regular file") from error
        raise _refused(path, "opened", error) from error


def read_image_file(path: str, expected: tuple[int, int] | None) -> bytes:
    """Return the bytes of an image file.

    Args:
        expected: Size in bytes and `version_of` that were planned; None for any.

    Raises:
        UnreachableError: When it is not a regular file, is gone or changed, or may not be read.
        ImageError: When it is too large.
        StorageError: When the machine or the mount fails.
    """
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        if expected is not None and (found.st_size, version_of(found)) != expected:
            raise UnreachableError("changed after the run was planned; submit the folder again")
        if found.st_size > MAX_BYTES:
            raise ImageError(f"too large: {found.st_size} bytes, the limit is {MAX_BYTES}")
        try:
            return file.read()
        except OSError as error:
            raise _refused(path, "read", error) from error


def _refused(path: str, doing: str, error: OSError) -> UnreachableError | StorageError:
    if error.errno in _STORAGE_ERRORS:
        return StorageError(f"{path!r} cannot be {doing} now: {error.strerror}.")
    return UnreachableError(f"cannot be {doing}: {os.strerror(error.errno or 0)}")
