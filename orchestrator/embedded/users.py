"""What commands do with the embedded stack: start it, join it, leave it, stop it.

One stack serves all commands on one storage. A command that uses it holds a shared lock
on a file; the supervisor ends the stack when nobody holds one any more.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from orchestrator.embedded.runtime_folder import check_room
from orchestrator.embedded.stack import Stack, find_stack, try_lock
from workers.errors import BrokerError, OtherStackError
from workers.processes.last_words import find_last_words
from workers.settings import Settings, poets_version

_START_TIMEOUT_S = 30.0
# Longer than the supervisor gives its workers to finish what is under way.
_STOP_TIMEOUT_S = 20.0


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
    with _leaving(stack) as lock:
        _join(stack, settings, lock)
        yield replace(settings, broker_url=stack.broker_url)


@contextlib.contextmanager
def start_ahead(settings: Settings) -> Iterator[None]:
    """Start the embedded stack while the block prepares what it is for.

    Both take about a second. The next `use_broker` reports what goes wrong here.
    """
    if settings.broker_url:
        yield
        return
    stack = find_stack(settings)

    def join() -> None:
        # ValueError: the block has ended meanwhile, and closed the lock.
        with contextlib.suppress(BrokerError, OSError, ValueError):
            _join(stack, settings, lock)

    with _leaving(stack) as lock:
        threading.Thread(target=join, daemon=True).start()
        yield


@contextlib.contextmanager
def _leaving(stack: Stack) -> Iterator[IO[str]]:
    """Yield the lock with which the block may join the stack; leave the stack after the block."""
    with _open_users(stack) as lock:
        try:
            yield lock
        except KeyboardInterrupt:
            fcntl.flock(lock, fcntl.LOCK_UN)
            if not stack.keep.exists():
                # Another Ctrl-C ends the stack at once; the error stays that of the first.
                with contextlib.suppress(KeyboardInterrupt):
                    _wait_for_end(stack, unless_used=True)
            raise


def _open_users(stack: Stack) -> IO[str]:
    try:
        return stack.users.open("w")
    except OSError:
        check_room(stack.folder)
        raise


def why_stopped(settings: Settings) -> str | None:
    """Return why the embedded stack is gone, "" if that is not known.

    None while it is up, and with a broker of somebody else.
    """
    if settings.broker_url is not None:
        return None
    stack = find_stack(settings)
    return None if stack.running() else _read_failure(stack)


def _read_failure(stack: Stack) -> str:
    with contextlib.suppress(OSError):
        return stack.failure.read_text("utf-8", "replace")
    return ""


def attach_broker(settings: Settings) -> Settings | None:
    """Return settings with a broker if one is configured or the stack is up, else None."""
    if settings.broker_url:
        return settings
    stack = find_stack(settings)
    return replace(settings, broker_url=stack.broker_url) if stack.running() else None


def keep_stack(settings: Settings) -> Stack:
    """Start the stack unless it is up, and keep it up until `stop_stack` (`poets up`).

    Raises:
        BrokerError: When it cannot be started, or one of its parts cannot.
    """
    stack = find_stack(settings)
    with _open_users(stack) as lock:
        _join(stack, settings, lock)
        # Only now: a supervisor that was just ending has removed this file.
        stack.keep.touch()
        _wait_until_ready(stack)
    return stack


def _wait_until_ready(stack: Stack) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    parts = [stack.ready("worker"), stack.ready("coordinator")]
    while time.monotonic() < deadline and not all(path.exists() for path in parts):
        if not stack.running():
            raise BrokerError(f"The embedded stack has stopped: {_read_failure(stack)}")
        time.sleep(0.05)


def stop_stack(settings: Settings) -> bool:
    """Stop the stack even if it is in use; return whether there was one (`poets down`)."""
    stack = find_stack(settings)
    stack.keep.unlink(missing_ok=True)
    state = stack.running()
    if state is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    _wait_for_end(stack, unless_used=False)
    return True


def kill_stack(stack: Stack) -> None:
    """End every process of the stack at once."""
    pid = stack.supervisor()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _join(stack: Stack, settings: Settings, lock: IO[str]) -> None:
    """Become a user of the stack; start it if need be."""
    with stack.starting.open("w") as starting:
        # One process starts it at a time, and waits for a supervisor that is ending.
        fcntl.flock(starting, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_SH)
        state = stack.running()
        if state is None:
            _start(stack, settings, starting)
        elif state.version != poets_version():
            raise OtherStackError(
                f"The stack that is up is of poets {state.version}, this is {poets_version()}."
            )


def _start(stack: Stack, settings: Settings, starting: IO[str]) -> None:
    check_room(stack.folder)
    stack.state.unlink(missing_ok=True)
    stack.keep.unlink(missing_ok=True)
    stack.failure.unlink(missing_ok=True)
    stack.log.write_bytes(b"")
    program = [sys.executable, "-P", "-m", "orchestrator.embedded.supervisor"]
    with stack.log.open("ab") as log:
        process = subprocess.Popen(
            [*program, str(stack.folder), str(starting.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(stack, settings),
            # A session of its own: Ctrl-C at the terminal is for the command alone.
            start_new_session=True,
            # Celery imports from the current folder, which could be anybody's.
            cwd=stack.folder,
            # The supervisor holds this lock too until the stack is up, so that nobody starts
            # a second one if this process ends before.
            pass_fds=[starting.fileno()],
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if stack.running():
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    said = find_last_words(stack.log.read_text("utf-8", "replace")) or "no message"
    raise BrokerError(f"The embedded stack did not start: {said} (log: {stack.log}).")


def _environment(stack: Stack, settings: Settings) -> dict[str, str]:
    # The temporary files of Celery's pool are mapped: on a full disk that would kill it.
    shutil.rmtree(stack.temporary, ignore_errors=True)
    stack.temporary.mkdir()
    return {
        **os.environ,
        **settings.environment(),
        "POETS_BROKER_URL": stack.broker_url,
        "TMPDIR": str(stack.temporary),
    }


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
        # Not even a shared lock: the supervisor holds it exclusively, and is ending.
        return try_lock(lock, fcntl.LOCK_SH) and not try_lock(lock, fcntl.LOCK_EX)
