"""Start a worker: ``python -m workers --queues bottleneck,infer --concurrency 2``."""

import argparse
import contextlib
import logging
import os
import socket
import sys
import time

import redis
from celery.signals import worker_ready
from celery.worker import state

from workers.app import make_app
from workers.leases import SHARED_TYPES, connect, remove_other_types
from workers.processes.readiness import announce_ready
from workers.processes.surroundings import forget_foreign_settings
from workers.settings import QUEUES, Settings, load_settings

_FULL_WAIT_S = 2.0
_RESTART_AFTER_S = 1.0
_log = logging.getLogger(__name__)


def run_worker(
    settings: Settings,
    queues: str,
    concurrency: int,
    name: str | None = None,
    log_level: str = "WARNING",
    grace_s: float | None = None,
) -> None:
    """Run a Celery worker in this process until it is told to stop.

    Args:
        queues: Names from QUEUES, separated by commas.
        concurrency: Child processes; one a core on a CPU, one on a GPU.
        grace_s: How long work under way may go on after SIGTERM; Celery waits all of it
            even when the work ends sooner.
    """
    # The tasks, and the programs that they start, read their settings from here.
    os.environ.update(settings.environment())
    # SIGTERM: finish what is under way for at most worker_soft_shutdown_timeout, then
    # hand the rest back. Plain SIGTERM waits without limit.
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    app = make_app(settings)
    if grace_s is not None:
        app.conf.worker_soft_shutdown_timeout = grace_s
    client = connect(settings.require_broker())
    _wait_for_room(client)
    with contextlib.suppress(redis.RedisError):  # it does not answer: Celery waits for it
        remove_other_types(client, SHARED_TYPES)
    # Not `app.worker_main`: Celery's command line imports all its commands, Flower too.
    worker = app.Worker(
        hostname=name and f"{name}@{socket.gethostname()}",
        queues=queues,
        concurrency=concurrency,
        loglevel=log_level,
        without_mingle=True,
        without_gossip=True,
    )
    began: list[bool] = []

    def begin(**_: object) -> None:
        began.append(True)
        announce_ready()

    worker_ready.connect(begin)
    worker.start()
    if worker.exitcode and state.should_stop is None and state.should_terminate is None:
        # Nobody asked it to end.
        if not began:
            # It would end there each time.
            sys.exit("Error: The worker cannot start; the lines above say why.")
        # Celery gives up when it cannot record a message as unacked, such as in a key of another
        # type. Start again as the same process.
        time.sleep(_RESTART_AFTER_S)
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very program
    sys.exit(worker.exitcode)


def _wait_for_room(client: redis.Redis) -> None:
    """Wait while the broker refuses to store anything (``maxmemory``)."""
    if _is_full(client):
        _log.warning("The broker is full; waiting for room. Give it more memory (maxmemory).")
        while _is_full(client):
            time.sleep(_FULL_WAIT_S)


def _is_full(client: redis.Redis) -> bool:
    try:
        client.set("poets:room", 1, px=1)
    except redis.OutOfMemoryError:
        return True
    except redis.RedisError:
        return False  # it does not answer: Celery waits for it
    return False


def main() -> None:
    """Parse the command line, which the embedded stack uses."""
    forget_foreign_settings()
    parser = argparse.ArgumentParser(prog="python -m workers")
    parser.add_argument("--queues", default=",".join(QUEUES))
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--grace-s", type=float)
    options = parser.parse_args()
    run_worker(load_settings(), options.queues, options.concurrency, grace_s=options.grace_s)


if __name__ == "__main__":
    main()
