"""What a batch costs besides its images: its shard, and its way through the queue."""

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from orchestrator.driving.broker import Broker, open_broker
from orchestrator.embedded.stack import find_stack
from orchestrator.embedded.users import stop_stack, use_broker
from workers.errors import BrokerError
from workers.items import Item
from workers.leases import Keys
from workers.settings import Settings
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.layout import Storage
from workers.storage.making import make_storage
from workers.storage.manifest import PlannedImage, write_manifest
from workers.storage.plan import Plan, TrainingOptions
from workers.storage.root import make_folder
from workers.storage.shards import Shard, write_shard
from workers.storage.temporary import make_mark

_SHARDS = 5
_RUN, _SHARD, _BACKBONE, _IMAGE = "bench", "0", "bench", "image.jpg"
_WARM_UP, _BATCHES = 16, 128
_TIMEOUT_S = 30.0
_POLL_S = 0.005


@contextlib.contextmanager
def scratch_storage(settings: Settings) -> Iterator[Settings]:
    """Yield settings with an empty storage, on the same disk; it is gone afterwards."""
    with storage_errors(f"write {settings.storage}"):
        folder = TemporaryDirectory(
            prefix=f".tmp-{make_mark()}-", dir=settings.storage, ignore_cleanup_errors=True
        )
    with folder as path:
        make_storage(Path(path))
        yield replace(settings, storage=Path(path), broker_url=None)


def time_shards(scratch: Settings, uris: list[str], rows: int, bottleneck_size: int) -> float:
    """Return the median of the seconds that it takes to write a shard, fsync included.

    Args:
        uris: Of at least one real image; they stand for all rows.

    Raises:
        StorageError: When the storage refuses.
    """
    shard = _shard([uris[row % len(uris)] for row in range(rows)], bottleneck_size)
    seconds = []
    for number in range(_SHARDS + 1):
        start = time.perf_counter()
        write_shard(Storage(scratch.storage).shard(_BACKBONE, f"w{number}"), shard)
        seconds.append(time.perf_counter() - start)
    # The first also makes the folder.
    return statistics.median(seconds[1:])


def time_queue(scratch: Settings) -> float:
    """Return the seconds that a batch takes besides its work: message, lease, plan, report.

    Batches whose only image is in storage already go through a separate Valkey server and a
    Celery worker with one process, so that nothing overlaps.

    Raises:
        BrokerError: When no server can be started, or the messages do not come through.
    """
    # There is nothing to compute, and a worker for a GPU has only one process.
    settings = replace(scratch, device="gpu")
    _write_run(Storage(settings.storage))
    stack = find_stack(settings)
    with contextlib.ExitStack() as afterwards:
        afterwards.callback(shutil.rmtree, stack.folder, ignore_errors=True)
        connected = afterwards.enter_context(use_broker(settings))
        afterwards.callback(stop_stack, settings)
        broker = open_broker(connected)
        _send(broker, 0, _WARM_UP)
        return _send(broker, _WARM_UP, _WARM_UP + _BATCHES) / _BATCHES


def _send(broker: Broker, first: int, last: int) -> float:
    """Return the seconds from the first message to the last report."""
    start = time.perf_counter()
    broker.send(_RUN, [Item.of_batch(batch) for batch in range(first, last)], "train")
    while broker.client.llen(Keys(_RUN).done) < last:
        if time.perf_counter() - start > _TIMEOUT_S:
            raise BrokerError("The worker that the benchmark started does not answer.")
        time.sleep(_POLL_S)
    return time.perf_counter() - start


def _write_run(storage: Storage) -> None:
    """Write a run whose batches all have their result in storage."""
    folder, batches = storage.run(_RUN), _WARM_UP + _BATCHES
    root = os.path.realpath(storage.root)
    plan = Plan(
        name=_RUN,
        root=root,
        created="",
        architecture="",
        backbone_id=_BACKBONE,
        weights_digest="",
        images=batches,
        batches=batches,
        cached=0,
        batch_size=1,
        training=TrainingOptions(),
    )
    image = PlannedImage(_IMAGE, 0, 0, None, None, _SHARD)
    make_folder(storage.runs)
    folder.path.mkdir()
    write_manifest(folder.manifest, [(image,)] * batches)
    write_whole(folder.plan, plan.to_json())
    write_shard(storage.shard(_BACKBONE, _SHARD), _shard([f"{root}/{_IMAGE}"], 1))


def _shard(uris: list[str], bottleneck_size: int) -> Shard:
    rows = len(uris)
    numbers = np.zeros((rows, bottleneck_size), np.float32)
    return Shard(uris, [0] * rows, [0] * rows, [bytes(32)] * rows, numbers, [None] * rows)
