"""Run a dashboard until somebody ends it: any program, and Flower."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.driving.broker import open_broker
from orchestrator.embedded.users import use_broker
from workers.errors import PortTakenError
from workers.processes.heartbeat import no_heartbeat
from workers.processes.parent_death import end_with_parent
from workers.settings import Settings

_TICK_S = 0.2
_GRACE_S = 10.0


def check_port(address: str, port: int) -> None:
    """Refuse an address that cannot be listened on.

    Raises:
        PortTakenError: When something else does.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise PortTakenError(f"Cannot listen on {address}:{port}: {error.strerror}.") from error


def run_program(
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
    update: Callable[[], None] = no_heartbeat,
    update_s: float = _GRACE_S,
) -> int:
    """Run a Python program until it ends, Ctrl-C or SIGTERM; return its exit code.

    Args:
        arguments: What follows ``python -P``.
        folder: Where it runs: not in the current folder, where anybody may have put modules.
        update: Called at once, and then every `update_s`.
    """
    asked_to_end: list[int] = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked_to_end.append(number))
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env=environment,
        # So Ctrl-C reaches only this process, which then ends the program.
        start_new_session=True,
        cwd=folder,
        preexec_fn=lambda: end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - there are no threads here
    )
    due = time.monotonic()
    try:
        while process.poll() is None and not asked_to_end:
            if time.monotonic() >= due:
                update()
                due += update_s
            time.sleep(_TICK_S)
        code = process.poll() or 0
        return code if code >= 0 else 128 - code
    finally:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            # Flower waits forever for a broker that is gone.
            process.kill()
            process.wait()


def run_flower(settings: Settings, address: str, port: int, basic_auth: str | None) -> int:
    """Run Flower until it ends, Ctrl-C or SIGTERM; return its exit code.

    Raises:
        BrokerError: When there is no usable broker.
    """
    arguments = ["--app=workers.app", "flower", f"--address={address}", f"--port={port}"]
    with use_broker(settings) as connected:
        open_broker(connected)
        environment = {**os.environ, **connected.environment()}
        if basic_auth:
            # Not on the command line, where every user of the machine could read it.
            environment["FLOWER_BASIC_AUTH"] = basic_auth
        # Nor a flowerconfig.py.
        celery = ["-m", "celery", *arguments, "--read_only=True", f"--conf={os.devnull}"]
        return run_program(celery, environment, Path("/"))
