"""What `poets check` asks about one image file: what it is, and whether a run can read it.

It is also a program for `workers.processes.child`, so that an image that kills or hangs its reader
is a row too.
"""

import hashlib
import io
import os
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

from workers.errors import ImageError, StorageError
from workers.images.decoding import MAX_PIXELS, decode_picture, open_header
from workers.images.files import MAX_BYTES, open_regular, read_image_file
from workers.images.profiles import foreign_profile
from workers.images.refusals import name_format
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
        damage: What is wrong with the data of a picture that is read all the same.
        is_faint: It is read, but is all but black or white.
        profile: Name of a colour profile that changes its colours, and is ignored.
    """

    digest: str | None = None
    format: str | None = None
    error: str | None = None
    is_oversized: bool = False
    damage: str | None = None
    is_faint: bool = False
    profile: str | None = None


def inspect_image(path: str, is_quick: bool = False) -> Inspection:
    """Return what a file is; decoded in full, as a run decodes it.

    Args:
        is_quick: Read the header only, if that is good.

    Raises:
        StorageError: When the machine or the mount fails, which is no fault of the image.
    """
    try:
        if is_quick and (quick := _inspect_header(path)):
            return quick
        content = read_image_file(path, None)
    except ImageError as error:
        return Inspection(error=str(error))
    header = _read_header(io.BytesIO(content))
    found = replace(
        header.inspection,
        digest=hashlib.sha256(content).hexdigest(),
        is_oversized=header.pixels > MAX_PIXELS,
    )
    try:
        picture = decode_picture(content, _INPUT_SIZE)
    except ImageError as error:
        return replace(found, error=str(error))
    except MemoryError:
        return replace(found, error="cannot be decoded: needs more memory than there is")
    return replace(
        found,
        format=found.format or name_format(content),
        damage=picture.damage,
        is_faint=picture.is_faint,
    )


def _inspect_header(path: str) -> Inspection | None:
    """Return what the header says, or None when the whole file must be read."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            return None
        header = _read_header(file)
    if header.inspection.format is None or not 0 < header.pixels <= MAX_PIXELS:
        return None
    return header.inspection


class _Header(NamedTuple):
    inspection: Inspection
    pixels: int


def _read_header(file: BinaryIO) -> _Header:
    """Return what the header says, and the number of pixels."""
    try:
        with open_header(file) as image:
            profile = foreign_profile(image.info.get("icc_profile"))
            found = Inspection(format=image.format, profile=profile)
            return _Header(found, image.width * image.height)
    # Pillow raises almost anything; `decode_picture` gives the reason.
    except Exception:
        return _Header(Inspection(), 0)


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
