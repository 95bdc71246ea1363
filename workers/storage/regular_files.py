"""Files that somebody else may have put there: opened only if regular, and read up to a limit.

A link would lead to a file that its maker may not read, and opening a pipe waits forever.
"""

import errno
import io
import os
import stat
from pathlib import Path

# Far above any file of facts (plans, cards, labels), and far below the memory of a machine.
FACTS_BYTES = 16 * 1024**2
# For one file of a model. The largest backbone of the table has 480 MB.
CONTENT_BYTES = 1024**3


class NotRegularError(OSError):
    """There is something else of this name, or more than may be read; `strerror` says what."""


def open_regular_file(path: str | Path, *, may_be_link: bool = False) -> io.BufferedReader:
    """Open a file that is no link, pipe, device or socket.

    What is checked is what was opened, so nothing can take its place in between.

    Args:
        may_be_link: For a file that a person has named, as opposed to one that was found.

    Raises:
        NotRegularError: When it is one.
        OSError: When it is gone, is a folder, or may not be read.
    """
    # O_NONBLOCK: opening a pipe must not wait for somebody who writes into it.
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if may_be_link else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refusal(path, "it is a link, which is not followed", errno.ELOOP) from error
        if error.errno == errno.ENXIO:
            raise _refusal(path) from error  # a socket
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        raise _refusal(path)
    return os.fdopen(descriptor, "rb")


def read_regular_file(
    path: str | Path, most_bytes: int = FACTS_BYTES, *, may_be_link: bool = False
) -> bytes:
    """Return the content of a file; see `open_regular_file`.

    Raises:
        NotRegularError: When it is not regular, or larger than `most_bytes`.
        OSError: When it is gone or cannot be read.
    """
    with open_regular_file(path, may_be_link=may_be_link) as file:
        size = os.fstat(file.fileno()).st_size
        # Not its size alone: a file may grow, and those in /proc say 0.
        if size <= most_bytes:
            content = file.read(size)
            content += file.read(most_bytes + 1 - len(content))
            if len(content) <= most_bytes:
                return content
    raise _refusal(path, f"it is larger than {most_bytes} bytes", errno.EFBIG)


def check_regular_file(path: str | Path) -> None:
    """Refuse what is no regular file before a library opens it by its name.

    Only for files of the storage: somebody who may write there could put another in its place.

    Raises:
        NotRegularError, OSError: See `open_regular_file`.
    """
    open_regular_file(path).close()


def _refusal(
    path: str | Path, reason: str = "it is not a regular file", number: int = errno.EINVAL
) -> NotRegularError:
    return NotRegularError(number, reason, os.fspath(path))
