"""What `poets check` asks of one image file: can a run read it, and what is it.

`workers.processes.child` runs it as a program, so an image that kills or hangs its reader is
a row too.
"""

import base64
import hashlib
import io
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import BinaryIO

from workers.errors import ImageError, StorageError
from workers.images.decoding import MAX_PIXELS, decode_picture, open_header
from workers.images.files import MAX_BYTES, open_regular, read_image_file
from workers.processes.child import IMAGE_TIMEOUT_S, Child, DeathError, limit_memory
from workers.processes.heartbeat import Heartbeat
from workers.processes.parent_death import end_with_parent

# As most backbones have it. A larger one finds no other damage, and takes longer.
_INPUT_SIZE = (224, 224)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one image file is.

    Attributes:
        digest: SHA-256 of the file, in hexadecimal; None when it was not read to its end.
        format: As Pillow names it; None when it is none that poets reads.
        error: Why a run would not read it; None when it would.
        is_oversized: It has more pixels than a run decodes.
    """

    digest: str | None = None
    format: str | None = None
    error: str | None = None
    is_oversized: bool = False


def inspect_image(path: str, is_quick: bool = False) -> Inspection:
    """Return what a file is; decoded in full, as a run decodes it.

    Args:
        is_quick: Look at the header only, if that is good.

    Raises:
        StorageError: When the machine or the mount is in trouble, which is no image's fault.
    """
    try:
        if is_quick and (header := _glance(path)):
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


def _glance(path: str) -> Inspection | None:
    """Return what the header says, or None when the whole file must be looked at."""
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
    # Pillow raises almost anything; why, `decode_picture` says.
    except Exception:
        return None, 0


class Inspector:
    """`inspect_image` in a process of its own."""

    def __init__(self, heartbeat: Heartbeat, is_quick: bool) -> None:
        self._child = Child("workers.images.inspection", [json.dumps(is_quick)], heartbeat)

    def inspect(self, path: str, timeout_s: float = IMAGE_TIMEOUT_S) -> Inspection:
        """Return what a file is, whatever it does to the process that reads it.

        Raises:
            StorageError: When the machine or the mount is in trouble, or no process can start.
        """
        try:
            answer = json.loads(self._child.ask(base64.b64encode(os.fsencode(path)), timeout_s))
        except DeathError as died:
            return Inspection(error=str(died))
        if "trouble" in answer:
            raise StorageError(answer["trouble"])
        return Inspection(**answer)

    def stop(self) -> None:
        """End the process."""
        self._child.stop()


def _serve(is_quick: bool) -> None:
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        path = os.fsdecode(base64.b64decode(line))
        try:
            answer = asdict(inspect_image(path, is_quick))
        except StorageError as error:
            answer = {"trouble": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    end_with_parent(parent=int(sys.argv[2]))
    _serve(json.loads(sys.argv[1]))
