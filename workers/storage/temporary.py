"""Names of what is being written, and whether who was writing it is gone.

A process that is killed leaves what it was writing. The name says which process of which machine
that was, so it can be told from what is being written now.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

# What names no process of this machine counts as left by one that is gone after this time without
# a change.
ABANDONED_AFTER_S = 24 * 3600.0
_MARK = r"(?P<machine>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-[0-9a-f]{16}"
# Before there were marks: 32 digits; eight letters and digits of `tempfile`.
_IN_STORAGE = re.compile(rf"\.tmp-(?:{_MARK}(?:-.*)?|[0-9a-f]{{32}}|[a-z0-9_]{{8}})")
_BESIDE = (re.compile(rf"\..*\.{_MARK}\.tmp", re.DOTALL), re.compile(rf"\.tmp-{_MARK}"))
_SCRATCH = re.compile(rf"poets-{_MARK}-.*", re.DOTALL)


def make_mark() -> str:
    """Return what names this process, and differs each time."""
    return f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:16]}"


def temporary_in(folder: Path) -> Path:
    """Return a new path for a file or folder that a rename will put elsewhere in the storage."""
    return folder / f".tmp-{make_mark()}"


def temporary_beside(path: Path) -> Path:
    """Return a new path for what will be renamed to `path`, outside the storage."""
    # The start of the name is enough to know it by, and the whole may be as long as names can be.
    return path.parent / f".{path.name[:20]}.{make_mark()}.tmp"


def replaced_beside(path: Path) -> Path:
    """Return a new path for what is at `path` until something else is; see `restore_replaced`."""
    return path.parent / f".{path.name}.{make_mark()}.old"


def scratch_prefix() -> str:
    """Return how a folder among the temporary files of this machine begins."""
    return f"poets-{make_mark()}-"


def find_abandoned(
    folder: Path, now: float, *, old: re.Pattern[str] | None = None
) -> Iterator[Path]:
    """Yield what killed processes have left in a folder of the storage, but not below it.

    Args:
        now: Seconds since 1970 by the clock of the file system; see `file_clock`.
        old: Further names that count.

    Raises:
        OSError: When the storage does not answer; FileNotFoundError when there is no such folder.
    """
    patterns = (_IN_STORAGE, *_BESIDE, *([old] if old else []))
    yield from _find(folder, now, patterns)


def find_scratch(folder: Path, now: float) -> Iterator[Path]:
    """Yield what killed processes of this user have left among the temporary files."""
    yield from (path for path in _find(folder, now, (_SCRATCH,)) if _is_own(path))


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes have left in a folder outside the storage."""
    try:
        for path in list(_find(folder, time.time(), _BESIDE)):
            remove(path)
    except OSError:
        return  # of no use to the user, whose file is written all the same


def restore_replaced(path: Path) -> None:
    """Settle what a process was doing that was killed while it replaced `path`.

    Raises:
        OSError: When the folder cannot be read or written.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{_MARK}\.old")
    for old in list(_find(path.parent, time.time(), (pattern,))):
        if path.exists():
            remove(old)
        else:
            old.rename(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; links are removed, not followed.

    Raises:
        OSError: When something of it cannot be removed.
    """
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def file_clock(folder: Path) -> float:
    """Return the time by the clock of the file system of a folder, in seconds since 1970.

    Raises:
        OSError: When the folder cannot be written.
    """
    probe = temporary_in(folder)
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def newest_change(path: Path) -> float:
    """Return when a file, or anything in a folder, was last written, in seconds since 1970."""
    newest = path.lstat().st_mtime
    if not stat.S_ISDIR(path.lstat().st_mode):
        return newest
    with os.scandir(path) as entries:
        return max([newest, *(newest_change(Path(entry.path)) for entry in entries)])


def _find(folder: Path, now: float, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        found = next(filter(None, (pattern.fullmatch(name) for pattern in patterns)), None)
        if found and _is_abandoned(folder / name, found, now):
            yield folder / name


def _is_abandoned(path: Path, name: re.Match[str], now: float) -> bool:
    owner = name.groupdict()
    if owner.get("machine") == _machine():
        return not _is_running(int(owner["pid"]))
    try:
        return now - newest_change(path) > ABANDONED_AFTER_S
    except FileNotFoundError:
        return False  # finished at this moment


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        # One that was killed stays in the table until its parent asks for it.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return True  # no /proc here, or it has ended just now


def _is_own(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


@functools.cache
def _machine() -> str:
    """Return what tells processes with the same number apart: host, boot, and container."""
    facts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
    with contextlib.suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:8]
