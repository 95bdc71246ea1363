"""stdin, stdout and stderr that may be closed, or a terminal or pipe that is gone."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from workers.errors import PoetsError

# A pipe without a reader, and a terminal that was closed.
_NOBODY_READS = (errno.EPIPE, errno.EIO)


def use_utf8() -> None:
    """Start this program again where the locale has another encoding: names of files are UTF-8."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        python, *arguments = sys.orig_argv
        os.execv(sys.executable, [python, "-X", "utf8", *arguments])  # noqa: S606 - this very program


@contextlib.contextmanager
def robust_streams() -> Iterator[None]:
    """Let messages that nobody can read any more be lost, and what is done for them go on.

    A character that a stream cannot encode (``PYTHONIOENCODING``) is written as its number.
    """
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")
    before = sys.stderr
    sys.stderr = _Messages(before)  # type: ignore[assignment] # it has all that is used of one
    try:
        yield
    finally:
        sys.stderr = before


@contextlib.contextmanager
def writing_result() -> Iterator[None]:
    """Turn an error of stdout into one that says so.

    Raises:
        BrokenPipeError: When nobody reads it any more; click ends without a word then.
        PoetsError: When it cannot be written, as on a full disk.
    """
    try:
        yield
    except OSError as error:
        _drop(sys.stdout)
        if error.errno in _NOBODY_READS:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
        raise PoetsError(f"The result cannot be written to stdout: {error.strerror}.") from error


class _Messages:
    """A stream that loses what it cannot write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            _drop(self._stream)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            _drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _drop(stream: TextIO) -> None:
    """Let a stream lead nowhere: what is left in its buffer would fail again when Python ends."""
    # It may be no file (a test's), or be closed.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_closed() -> None:
    """Open what was closed (``2>&-``); else its number would go to the next file that is opened."""
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
