"""What `poets check` asks about one image file: what it is, and whether a run can read it.

It is also a program for `workers.processes.child`, so that an image that kills or hangs its reader
is a row too.
"""

import hashlib
import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from workers.errors import ImageError, StorageError
from workers.images.decoding import MAX_PIXELS, decode_picture, open_header
from workers.images.files import MAX_BYTES, open_regular, read_image_file
from workers.processes.child import (
    IMAGE_TIMEOUT_S,
    Child,
    DeathError,
    Tell,
    begin,
    limit_memory,
    serve,
)
from workers.processes.heartbeat import Heartbeat

# That of most backbones. A larger one finds no other damage, and takes longer.
_INPUT_SIZE = (224, 224)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one image file is.

    Attributes:
        digest: SHA-256 of the file, in hexadecimal; None when it was not read to its end.
        format: Pillow's name for it; None when poets does not read it.
        error: Why a run could not read it; None when it could.
        is_oversized: It has more pixels than a run decodes.
    """

    digest: str | None = None
    format: str | None = None
    error: str | None = None
    is_oversized: bool = False


def inspect_image(path: str, is_quick: bool = False) -> Inspection:
    """Return what a file is; decoded in full, as a run decodes it.

    Args:
        is_quick: Read the header only, if that is good.

    Raises:
        StorageError: When the machine or the mount fails, which is no fault of the image.
    """
    try:
        if is_quick and (header := _inspect_header(path)):
            return header
        content = read_image_file(path, None)
    except ImageError as error:
        return Inspection(error=str(error))
    format_name, pixels = _read_header(io.BytesIO(content))
    digest = hashlib.sha256(content).hexdigest()
    reason = None
    try:
        decode_picture(content, _INPUT_SIZE)
    except ImageError as error:
        reason = str(error)
    except MemoryError:
        reason = "cannot be decoded: needs more memory than there is"
    return Inspection(digest, format_name, reason, pixels > MAX_PIXELS)


def _inspect_header(path: str) -> Inspection | None:
    """Return what the header says, or None when the whole file must be read."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            return None
        format_name, pixels = _read_header(file)
    if format_name is None or not 0 < pixels <= MAX_PIXELS:
        return None
    return Inspection(format=format_name)


def _read_header(file: BinaryIO) -> tuple[str | None, int]:
    """Return the format and the number of pixels, as far as the header tells."""
    try:
        with open_header(file) as image:
            return image.format, image.width * image.height
    # Pillow raises almost anything; `decode_picture` gives the reason.
    except Exception:
        return None, 0


class Inspector:
    """`inspect_image` in another process."""

    def __init__(self, heartbeat: Heartbeat, is_quick: bool) -> None:
        # A text says why the storage failed.
        self._child: Child[Inspection | str] = Child(
            "workers.images.inspection", [], Inspection | str, heartbeat
        )
        self._is_quick = is_quick

    def inspect(self, path: str, timeout_s: float = IMAGE_TIMEOUT_S) -> Inspection:
        """Return what a file is, whatever it does to the process that reads it.

        Raises:
            StorageError: When the machine or the mount fails, or no process can start.
        """
        try:
            answer = self._child.ask((path, self._is_quick), timeout_s)
        except DeathError as died:
            return Inspection(error=str(died))
        if isinstance(answer, str):
            raise StorageError(answer)
        return answer

    def stop(self) -> None:
        """End the process."""
        self._child.stop()


def _answer(question: tuple[str, bool], tell: Tell) -> None:
    path, is_quick = question
    try:
        tell(inspect_image(path, is_quick))
    except StorageError as error:
        tell(str(error))


if __name__ == "__main__":
    begin()
    limit_memory()
    serve(tuple[str, bool], _answer)
