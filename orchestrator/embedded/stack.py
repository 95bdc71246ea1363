"""Where the embedded stack of a storage keeps its files, and whether it is up."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from orchestrator.embedded.runtime_folder import (
    find_candidates,
    find_parents,
    is_private,
    make_private,
)
from workers.settings import Settings
from workers.storage.temporary import newest_change

# A stack whose locks were opened this short a time ago may be about to start.
_IDLE_S = 60.0


@dataclass(frozen=True)
class RunningStack:
    """What the supervisor writes about a stack that is up.

    Attributes:
        pid: Of the supervisor.
        concurrency: Processes of the worker.
        version: Of poets.
    """

    pid: int
    concurrency: int | None = None
    version: str | None = None


class Stack:
    """The files of the embedded stack of one storage.

    The kernel drops the lock of a process that ends, even if it was killed.

    Attributes:
        state: A `RunningStack` as JSON.
        users: Locked shared by each user, exclusively by a supervisor that is ending.
        alive: Locked exclusively by the supervisor, whose process id it holds. The lock is
            what counts: another process could have got the id meanwhile.
        starting: Locked exclusively from before the supervisor is started until all is up.
        failure: Why the supervisor gave up, in words, until the next one starts.
        temporary: Folder for the temporary files of its processes.
        keep: While this file exists, the stack stays up without users (`poets up`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "stack.json"
        self.users = folder / "users.lock"
        self.alive = folder / "alive.lock"
        self.starting = folder / "start.lock"
        self.failure = folder / "failure.txt"
        self.keep = folder / "keep"
        self.temporary = folder / "tmp"
        self.socket = folder / "valkey.sock"
        self.log = folder / "stack.log"
        self.broker_url = f"redis+socket://{self.socket}?virtual_host=0"

    def ready(self, part: str) -> Path:
        """Return the file that a part, "worker" or "coordinator", makes once it has begun."""
        return self.folder / f"{part}.ready"

    def supervisor(self) -> int | None:
        """Return the process id of the supervisor, also while it starts or ends."""
        try:
            with self.alive.open() as lock:
                if not try_lock(lock, fcntl.LOCK_SH):
                    return int(lock.read() or 0) or None
        except (OSError, ValueError):
            return None
        return None

    def running(self) -> RunningStack | None:
        """Return what the supervisor wrote about the stack, if it is up."""
        try:
            state = msgspec.json.decode(self.state.read_bytes(), type=RunningStack)
        except (OSError, ValueError):
            return None
        return state if state.pid == self.supervisor() else None

    def starting_services(self) -> list[str]:
        """Return which of "workers" and "coordinator" have not begun their work yet."""
        if self.running() is None:
            return []
        parts = {"workers": "worker", "coordinator": "coordinator"}
        if not self.keep.exists():  # such a stack has no coordinator
            del parts["coordinator"]
        return [name for name, part in parts.items() if not self.ready(part).exists()]


def find_ended_stacks() -> list[Stack]:
    """Return the stacks of this user, of any storage, whose processes have ended."""
    found = []
    for folder in _find_folders():
        is_ours = re.fullmatch(r"[0-9a-f]{10}", folder.name.rpartition("-")[2])
        with contextlib.suppress(FileNotFoundError):  # removed at this moment
            if is_ours and is_private(folder):
                with _locked(Stack(folder)) as has_ended:
                    found += [Stack(folder)] if has_ended else []
    return found


def _find_folders() -> list[Path]:
    name = f"poets-{os.getuid()}-*"
    return [folder for parent in find_parents() for folder in sorted(parent.glob(name))]


def remove_ended_stack(stack: Stack) -> bool:
    """Remove the files of a stack unless somebody uses it; return whether they are gone.

    Raises:
        OSError: When they cannot be removed.
    """
    with _locked(stack) as has_ended:
        if has_ended:
            shutil.rmtree(stack.folder)
        return has_ended


@contextlib.contextmanager
def _locked(stack: Stack) -> Iterator[bool]:
    """Hold all locks of a stack; yield False when somebody else has one, or will in a moment."""
    with contextlib.ExitStack() as files:
        paths = [path for path in (stack.starting, stack.users, stack.alive) if path.exists()]
        locks = [files.enter_context(path.open("r+")) for path in paths]
        are_free = all(try_lock(lock, fcntl.LOCK_EX) for lock in locks)
        # A command opens its locks a moment before it takes them.
        yield are_free and time.time() - newest_change(stack.folder) > _IDLE_S


def try_lock(file: IO[str], kind: int) -> bool:
    """Lock a file in place of any lock that it has; return False if another process forbids it.

    Args:
        kind: LOCK_SH or LOCK_EX of `fcntl`.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_stack(settings: Settings) -> Stack:
    """Return the stack of a storage, which need not be running.

    Its folder exists, unless none can be made; see `check_room`.

    Raises:
        BrokerError: When others can enter its folder.
    """
    storage = os.path.realpath(settings.storage)
    digest = hashlib.sha256(os.fsencode(storage)).hexdigest()[:10]
    folders = list(find_candidates(f"poets-{os.getuid()}-{digest}"))
    # One that is up counts, should the usual place have come back meanwhile.
    for folder in folders:
        if os.path.exists(folder) and is_private(folder) and Stack(folder).supervisor():
            return Stack(folder)
    return Stack(next(filter(make_private, folders), folders[0]))
