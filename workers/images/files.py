"""The files that hold images: which ones may, and their bytes."""

import errno
import io
import os
import stat

from workers.errors import ImageError, StorageError

_PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".heif", ".heic")
_OTHERS = (".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = frozenset((*_PHOTOGRAPHS, *_OTHERS))
MAX_BYTES = 512 * 1024**2
# The machine or the mount is in trouble, not this file: another attempt may succeed.
_STORAGE_TROUBLE = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV,
}  # fmt: skip


def version_of(found: os.stat_result) -> int:
    """Return the modification time of a file in nanoseconds, as far as 64 bits go."""
    return max(-(2**63), min(found.st_mtime_ns, 2**63 - 1))


def looks_like_image(path: str) -> bool:
    """Return whether the first bytes are those of an image format, for names without ending."""
    try:
        head = open_regular(path)
    except ImageError:
        return False
    with head:
        start = head.read(16)
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    return start.startswith(signatures) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def is_folder_with_files(path: str) -> bool:
    """Return whether a folder is there and holds anything; a mount that has vanished does not."""
    try:
        with os.scandir(path) as entries:
            return any(entries)
    except OSError:
        return False


def open_regular(path: str) -> io.BufferedReader:
    """Open a file that is no link, pipe or device.

    Raises:
        ImageError: When it is one, or is gone, or may not be read.
        StorageError: When the machine or the mount is in trouble.
    """
    try:
        # O_NONBLOCK: a FIFO that took the file's place must not hang the worker.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(path, "opened", error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError("not a regular file")
    return os.fdopen(descriptor, "rb")


def read_image_file(path: str, expected: tuple[int, int] | None) -> bytes:
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        if expected is not None and (found.st_size, version_of(found)) != expected:
            raise ImageError("changed after the run was planned; submit the folder again")
        if found.st_size > MAX_BYTES:
            raise ImageError(f"too large: {found.st_size} bytes, the limit is {MAX_BYTES}")
        try:
            return file.read()
        except OSError as error:
            raise _refused(path, "read", error) from error


def _refused(path: str, doing: str, error: OSError) -> ImageError | StorageError:
    if error.errno in _STORAGE_TROUBLE:
        return StorageError(f"{path!r} cannot be {doing} now: {error.strerror}.")
    return ImageError(f"cannot be {doing}: {error.strerror}")
