"""The embedded stack as its users see it: start it, join it, leave it, stop it.

One stack serves all commands on one storage. A command that uses it holds a shared lock
on a file; the supervisor ends the stack when nobody holds it any more. The kernel drops
the lock of a killed process, so nothing is left behind whatever happens to its users.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from workers import DISTRIBUTION
from workers.errors import BrokerError
from workers.settings import Settings

# Not XDG_RUNTIME_DIR, which ends with the session and is not everywhere the same. Socket
# paths are limited to about 104 bytes.
_RUNTIME = "/tmp"  # noqa: S108 - the folder made there is private, and checked
_START_TIMEOUT_S = 30.0
# Longer than the supervisor gives its workers to finish what is under way.
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Stack:
    """Where the embedded stack of one storage keeps its files."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "stack.json"

    @property
    def users(self) -> Path:
        """Locked shared by each user, exclusively by a supervisor that is ending."""
        return self.folder / "users.lock"

    @property
    def alive(self) -> Path:
        """Locked exclusively by the supervisor, whose process id it holds.

        The lock is what counts: a process id alone could be somebody else's.
        """
        return self.folder / "alive.lock"

    @property
    def starting(self) -> Path:
        return self.folder / "start.lock"

    @property
    def keep(self) -> Path:
        """While this file exists, the stack stays up without users (`poets up`)."""
        return self.folder / "keep"

    @property
    def socket(self) -> Path:
        return self.folder / "valkey.sock"

    @property
    def log(self) -> Path:
        return self.folder / "stack.log"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def supervisor(self) -> int | None:
        """Return the process id of the supervisor, also while it starts or ends."""
        try:
            with self.alive.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(lock.read() or 0) or None
        except (OSError, ValueError):
            return None
        return None

    def running(self) -> dict[str, Any] | None:
        """Return what the supervisor wrote about itself, if it is up."""
        try:
            state: dict[str, Any] = json.loads(self.state.read_bytes())
        except (OSError, ValueError):
            return None
        return state if state.get("pid") == self.supervisor() else None


def find_stack(settings: Settings) -> Stack:
    """Return the stack of a storage, which need not be running.

    Raises:
        BrokerError: When its folder belongs to somebody else.
    """
    storage = os.path.realpath(settings.storage)
    digest = hashlib.sha256(os.fsencode(storage)).hexdigest()[:10]
    folder = Path(_RUNTIME) / f"poets-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not folder.is_dir() or found.st_mode & 0o077:
        raise BrokerError(f"{folder} is not a private folder of yours. Remove it and try again.")
    return Stack(folder)


@contextlib.contextmanager
def use_broker(settings: Settings) -> Iterator[Settings]:
    """Yield settings with a broker: the configured one, or that of the embedded stack.

    A stack that was started for this block ends with it, unless others use it.

    Raises:
        BrokerError: When the stack cannot be started.
    """
    if settings.broker_url:
        yield settings
        return
    stack = find_stack(settings)
    with stack.users.open("w") as lock:
        _join(stack, settings, lock)
        interrupted = False
        try:
            yield replace(settings, broker_url=stack.broker_url)
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
            if interrupted and not stack.keep.exists():
                _wait_for_end(stack, unless_used=True)


def has_stopped(settings: Settings) -> bool:
    """Return whether the embedded stack was needed and is not there any more."""
    return settings.broker_url is None and find_stack(settings).running() is None


def attach_broker(settings: Settings) -> Settings | None:
    """Return settings with a broker if one is configured or the stack is up, else None."""
    if settings.broker_url:
        return settings
    stack = find_stack(settings)
    return replace(settings, broker_url=stack.broker_url) if stack.running() else None


def keep_stack(settings: Settings) -> Stack:
    """Start the stack, or keep the running one, until `stop_stack` (`poets up`)."""
    stack = find_stack(settings)
    with stack.users.open("w") as lock:
        _join(stack, settings, lock)
        # Only now: a supervisor that was just ending has taken its own with it.
        stack.keep.touch()
    return stack


def stop_stack(settings: Settings) -> bool:
    """Stop the stack whoever uses it; return whether there was one (`poets down`)."""
    stack = find_stack(settings)
    stack.keep.unlink(missing_ok=True)
    state = stack.running()
    if state is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(state["pid"], signal.SIGTERM)
    _wait_for_end(stack, unless_used=False)
    return True


def kill_stack(stack: Stack) -> None:
    """End every process of the stack at once."""
    pid = stack.supervisor()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _join(stack: Stack, settings: Settings, lock: IO[str]) -> None:
    """Become a user of the stack, after starting it if need be."""
    with stack.starting.open("w") as starting:
        # One starter at a time; and a supervisor that is ending is waited for.
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_SH)
        state = stack.running()
        if state is None:
            _start(stack, settings)
        elif state.get("version") != version(DISTRIBUTION):
            raise BrokerError(
                f"The stack that is up is of poets {state.get('version')}, this is "
                f"{version(DISTRIBUTION)}. Stop it with `poets down` first."
            )


def _start(stack: Stack, settings: Settings) -> None:
    stack.state.unlink(missing_ok=True)
    stack.keep.unlink(missing_ok=True)
    stack.log.write_bytes(b"")
    with stack.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "orchestrator.supervisor", str(stack.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings.environment(), "POETS_BROKER_URL": stack.broker_url},
            # Its own session: Ctrl-C at the terminal is for the command, not for it.
            start_new_session=True,
            # Celery imports from the current folder, which is anybody's.
            cwd=stack.folder,
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if stack.running():
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    lines = stack.log.read_text("utf-8", "replace").strip().splitlines() or ["no message"]
    raise BrokerError(f"The embedded stack did not start: {lines[-1]} (log: {stack.log}).")


def _wait_for_end(stack: Stack, unless_used: bool) -> None:
    """Wait until the stack has ended; another Ctrl-C ends it at once."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    pid = stack.supervisor()
    try:
        while pid and stack.supervisor() == pid:
            if time.monotonic() > deadline:
                kill_stack(stack)
            if unless_used and _has_users(stack):
                return
            time.sleep(0.05)
    except KeyboardInterrupt:
        if not (unless_used and _has_users(stack)):
            kill_stack(stack)
        raise


def _has_users(stack: Stack) -> bool:
    with stack.users.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # the supervisor holds it exclusively: it is ending
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
