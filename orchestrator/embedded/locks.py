"""Locks on open files. The kernel drops the lock of a process that ends, even if it was killed."""

import fcntl
from typing import IO

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX


def wait_for_lock(file: IO[str], kind: int) -> None:
    """Lock a file in place of any lock that it has; `kind` is SHARED or EXCLUSIVE."""
    fcntl.flock(file, kind)


def try_lock(file: IO[str], kind: int) -> bool:
    """Lock a file unless a lock of another process forbids it; return whether it is locked."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: IO[str]) -> None:
    """Drop the lock of a file."""
    fcntl.flock(file, fcntl.LOCK_UN)
