"""The embedded stack as its users see it: start it, join it, leave it, stop it.

One stack serves all commands on one storage. A command that uses it holds a shared lock
on a file; the supervisor ends the stack when nobody holds it any more. The kernel drops
the lock of a killed process, so nothing is left behind whatever happens to its users.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import IO

from orchestrator.embedded.stack import Stack, find_stack
from workers import DISTRIBUTION
from workers.errors import BrokerError
from workers.settings import Settings

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
    """Let the embedded stack start while the block prepares what `use_broker` will need it for.

    It takes a second that a plan takes too. What goes wrong here, `use_broker` says.
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
    """Yield the lock of a user to be, who leaves the stack after the block."""
    with stack.users.open("w") as lock:
        try:
            yield lock
        except KeyboardInterrupt:
            fcntl.flock(lock, fcntl.LOCK_UN)
            if not stack.keep.exists():
                # Another Ctrl-C ends the stack at once; what the first one said stands.
                with contextlib.suppress(KeyboardInterrupt):
                    _wait_for_end(stack, unless_used=True)
            raise


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
            _start(stack, settings, starting)
        elif state.get("version") != version(DISTRIBUTION):
            raise BrokerError(
                f"The stack that is up is of poets {state.get('version')}, this is "
                f"{version(DISTRIBUTION)}. Stop it with `poets down` first."
            )


def _start(stack: Stack, settings: Settings, starting: IO[str]) -> None:
    stack.state.unlink(missing_ok=True)
    stack.keep.unlink(missing_ok=True)
    stack.log.write_bytes(b"")
    descriptor = str(starting.fileno())
    with stack.log.open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "orchestrator.embedded.supervisor",
                str(stack.folder),
                descriptor,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings.environment(), "POETS_BROKER_URL": stack.broker_url},
            # Its own session: Ctrl-C at the terminal is for the command, not for it.
            start_new_session=True,
            # Celery imports from the current folder, which is anybody's.
            cwd=stack.folder,
            # The lock of who starts the stack: it holds it until it is up, also when this
            # process ends before that, so that nobody starts a second one meanwhile.
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
