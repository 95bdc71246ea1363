"""The folder of an embedded stack: in /tmp, or where that cannot be written."""

import os
from collections.abc import Iterator
from pathlib import Path

from workers.errors import BrokerError

# First, since it is the same in every session of a user; TMPDIR and XDG_RUNTIME_DIR are not.
_RUNTIME = "/tmp"  # noqa: S108 - the folder made there is private, and checked
_VARIABLES = ("TMPDIR", "XDG_RUNTIME_DIR")
_OTHERS = ("/var/tmp", "/dev/shm")  # noqa: S108 - as above
# A Unix socket has 104 bytes for its path on macOS, 108 on Linux, and one of them is its end.
_SOCKET_BYTES = 103
_SOCKET = "valkey.sock"
# More than the log and the files of Valkey take when they are new.
_PROBE_BYTES = 1 << 20


def find_parents() -> list[Path]:
    """Return the folders in which those of stacks may be, the usual one first."""
    found = (_RUNTIME, *(os.environ.get(variable) for variable in _VARIABLES), *_OTHERS)
    return list(dict.fromkeys(Path(path).absolute() for path in found if path))


def find_candidates(name: str) -> Iterator[Path]:
    """Yield where the folder `name` of a stack could be: where its socket has a short path."""
    for parent in find_parents():
        if len(os.fsencode(parent / name / _SOCKET)) <= _SOCKET_BYTES:
            yield parent / name


def make_private(folder: Path) -> bool:
    """Make a folder that nobody else can enter; return False where that is not possible.

    Raises:
        BrokerError: When it is ours, and others can enter it.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    # Somebody else may have taken the name.
    if found.st_uid != os.getuid() or not folder.is_dir():
        return False
    if not is_private(folder):
        raise BrokerError(f"{folder} is not a private folder of yours. Remove it and try again.")
    return os.access(folder, os.W_OK | os.X_OK)


def is_private(folder: Path) -> bool:
    found = folder.lstat()
    return found.st_uid == os.getuid() and folder.is_dir() and not found.st_mode & 0o077


def check_room(folder: Path) -> None:
    """See that the files of a stack can be written.

    Raises:
        BrokerError: Says what to do.
    """
    probe = folder / f"probe-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        what = "Make room there" if folder.is_dir() else "Set TMPDIR to a folder with a short path"
        raise BrokerError(
            f"The embedded stack cannot write {folder}: {error.strerror}. {what}."
        ) from error
