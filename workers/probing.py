"""What a worker sees, for `poets doctor --deep`: its storage, and a folder of photographs."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import redis

from workers.errors import StorageError
from workers.settings import Settings, poets_version
from workers.storage.root import storage_id
from workers.storage.trial import try_storage

_FORGET_S = 120
_MOST_FILES = 100_000


@dataclass(frozen=True)
class View:
    """What one process of a worker said.

    Attributes:
        worker: HOST:PID of the worker, not of its process.
        storage: Which storage it has; "" when it has none.
        problem: Why it cannot use the storage; "" when it can.
        files: Files below the folder that was given, at most 100,000; None without one.
    """

    worker: str
    queue: str
    poets: str
    root: str
    storage: str
    problem: str
    files: int | None


def answers_key(token: str) -> str:
    """Return the list in Redis that the answers to a probe are added to."""
    return f"poets:probe/{token}"


def answer_probe(
    client: redis.Redis, settings: Settings, token: str, folder: str, queue: str
) -> None:
    """Add what this process sees to the answers to a probe.

    Raises:
        RedisError: When the broker does not answer.
    """
    storage = problem = ""
    try:
        storage = storage_id(settings.storage)
        try_storage(settings.storage)
    except StorageError as error:
        problem = str(error)
    view = View(
        worker=f"{socket.gethostname()}:{os.getppid()}",
        queue=queue,
        poets=poets_version(),
        root=str(settings.storage),
        storage=storage,
        problem=problem,
        files=count_files(Path(folder)) if folder else None,
    )
    with client.pipeline() as pipe:
        pipe.rpush(answers_key(token), json.dumps(asdict(view)))
        pipe.expire(answers_key(token), _FORGET_S)
        pipe.execute()


def count_files(folder: Path) -> int:
    """Return how many files are below a folder, as far as they can be seen."""
    total = 0
    for _, _, files in os.walk(folder):
        total += len(files)
        if total >= _MOST_FILES:
            return _MOST_FILES
    return total
