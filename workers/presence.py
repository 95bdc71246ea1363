"""Which workers are there: each says so every few seconds, and is believed a little longer.

Only whoever cannot open an image asks, to know whether another worker could try it.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable

import redis

from workers.leases import connect

_SAY_EVERY_S, _BELIEVED_S = 3.0, 10
# Set for the worker of the embedded stack: nobody else will come.
ONLY_WORKER = "POETS_ONLY_WORKER"


def name_worker(pid: int) -> str:
    """Return the name of the worker whose parent process this is; Celery's need not be unique."""
    return f"{socket.gethostname()}:{pid}"


def keep_present(broker_url: str, queues: Callable[[], Iterable[str]]) -> None:
    """Say that this worker is there, from now on until its process ends.

    Args:
        queues: Returns those that it takes work from at the moment.
    """
    client, name = connect(broker_url), name_worker(os.getpid())

    def say() -> None:
        while True:
            # A broker that is away asks nobody either.
            with contextlib.suppress(redis.RedisError):
                for queue in queues():
                    client.set(_key(queue, name), 1, ex=_BELIEVED_S)
            pause.wait(_SAY_EVERY_S)

    pause = threading.Event()
    threading.Thread(target=say, daemon=True).start()


def find_others(client: redis.Redis, queue: str, name: str) -> set[str]:
    """Return the workers besides `name` that take work from a queue.

    Raises:
        RedisError: When the broker does not answer.
    """
    prefix = _key(queue, "")
    keys = client.scan_iter(f"{prefix}*", count=1000)
    return {str(key).removeprefix(prefix) for key in keys} - {name}


def _key(queue: str, name: str) -> str:
    return f"poets:worker:{queue}:{name}"
