"""The frame around every task: check the message, hold the lease, report the end."""

import contextlib
import functools
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import redis
from celery import current_task
from kombu.exceptions import OperationalError

from workers.app import REST
from workers.backbones.loading import open_backbone
from workers.bottlenecks.batches import complete_batch
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.isolated import compute_isolated
from workers.bottlenecks.requests import ImageResult, Request
from workers.errors import (
    BottlenecksMissingError,
    DatasetError,
    LeaseLostError,
    ModelError,
    NoRunError,
    PoetsError,
    RunError,
    StorageError,
    UnconfirmedError,
    WeightsError,
)
from workers.items import Item
from workers.leases import Lease, check_storage, connect, report_done, report_failed_attempt
from workers.presence import ONLY_WORKER, find_others, name_worker
from workers.settings import QUEUES, load_settings
from workers.storage.atomic import is_outage, write_whole
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import Batch
from workers.storage.plan import Run
from workers.storage.root import storage_id
from workers.storage.unreachable import Unreachable, read_unreachable, write_unreachable

# These come back however often a task is tried, so they end the run.
_FINAL_ERRORS = (DatasetError, WeightsError, ModelError, RunError)
# One process of a worker that has failed three times in a row lets the worker rest, for twice
# as long with each further failure.
_FAILURES_BEFORE_REST = 3
_REST_S, _LONGEST_REST_S = 5.0, 60.0
_failures: list[str] = []
_BOTTLENECK, _, _INFER = QUEUES
# A worker that nobody else can help believes its eyes at the third look.
_LOOKS = 3


@dataclass
class Work:
    """One item of a run while its lease is held.

    Attributes:
        failed: Images of the batch that could not be read.
    """

    run: Run
    lease: Lease
    failed: int = 0

    def complete(self, batch: Batch) -> list[ImageResult]:
        """Return one result for each image of a batch; what was computed is in storage."""
        results = complete_batch(self.run, batch, self._compute, self)
        # By path: an image that fails takes its variants with it, and is one failure.
        rows = zip(batch.images, results, strict=True)
        self.failed = len({image.path for image, result in rows if result.error is not None})
        return results

    @property
    def name(self) -> str:
        """The name of this worker."""
        return name_worker(os.getppid())

    def confirm(self, unreachable: Mapping[str, str], images: int, note: Unreachable) -> None:
        """See `Witness`."""
        me, others = self.name, self._find_others()
        looks = note.tried_by.count(me) + 1
        is_patient = ONLY_WORKER in os.environ or max(looks, len(_failures)) >= _LOOKS
        if note.is_confirmed(unreachable, me, others) or (not others and is_patient):
            return
        path, reason = next(iter(unreachable.items()))
        raise UnconfirmedError(
            f"{len(unreachable):,} of {images:,} images cannot be read as planned, such as "
            f"{path!r} ({reason}); another worker is to try them.",
            # One that sees nothing at all, or is offered again what it could not do.
            is_unable=len(unreachable) == images or (looks > 1 and bool(others)),
        )

    def _leave_hanging(self, reason: str) -> None:
        """Leave an image that hangs to another worker, unless another has: a mount may hang here.

        Raises:
            UnconfirmedError: When another is to try it.
        """
        folder, batch, me = self.run.folder, self.lease.item.batch or 0, self.name
        note = read_unreachable(folder, batch)
        if {*note.tried_by} - {me} or not self._find_others():
            return
        write_unreachable(folder, batch, replace(note, tried_by=(*note.tried_by, me)))
        raise UnconfirmedError(f"An image {reason}; another worker is to try it.", is_unable=True)

    def _find_others(self) -> set[str]:
        queue = _BOTTLENECK if self.run.plan.kind == "train" else _INFER
        try:
            return find_others(self.lease.client, queue, self.name)
        except redis.RedisError as error:
            reason = f"The broker does not answer: {error}"
            raise UnconfirmedError(reason, is_unable=False) from error

    def _compute(self, images: list[Request]) -> Iterator[ImageResult]:
        storage, key = self.run.storage, self.run.plan.backbone
        if self.lease.attempt > 1:
            for result in compute_isolated(storage, key, images, self.lease.heartbeat):
                if result.hangs:
                    self._leave_hanging(str(result.error))
                yield result
            return
        backbone = open_backbone(storage, key, load_settings().device)
        self.lease.heartbeat()
        self.lease.ends_process = True
        try:
            yield from compute_results(images, backbone, self.lease.heartbeat)
        finally:
            self.lease.ends_process = False


@contextlib.contextmanager
def working_on(name: str, item: Item) -> Iterator[Work]:
    """Hold the lease of an item, and tell the reconciler how it ended.

    Anybody who can write to Redis can send a message, so it is checked against storage. An
    error that is expected ends here as a report; a bug is reported too, and raised for the
    worker's log.

    Raises:
        RunError: When the message names a run or a batch that is not in storage.
    """
    storage = Storage(load_settings().storage)
    folder = storage.run(name)
    client = _client(os.getpid(), load_settings().require_broker())
    try:
        present = storage_id(storage.root)
        run = Run.open(storage, name)
        check_storage(client, name, present, storage.root)
    except (RunError, StorageError) as error:
        # The reconciler has read this plan, so this worker is not set up as it should be.
        _report_failure(client, name, item, _describe_stranger(storage, error))
        raise
    if item.batch is not None and item.batch >= run.plan.batches:
        raise RunError(
            f"A message names batch {item.key} of run {name!r}, which has {run.plan.batches}."
        )
    try:
        with Lease(client, name, item) as lease:
            work = Work(run, lease)
            yield work
        report_done(client, name, item, work.failed)
        _failures.clear()
    except _FINAL_ERRORS as error:
        if is_outage(error, storage.root) or not _end_run(folder, item, error):
            _report_failure(client, name, item, _say_here(error))
    except (BottlenecksMissingError, LeaseLostError) as error:
        report_failed_attempt(client, name, item, str(error))
    except UnconfirmedError as error:
        _report_failure(client, name, item, _say_here(error), is_unable=error.is_unable)
    except PoetsError as error:
        _report_failure(client, name, item, _say_here(error))
    except Exception as error:
        _report_failure(client, name, item, _say_here(f"{type(error).__name__}: {error}"))
        raise


def _end_run(folder: RunFolder, item: Item, error: PoetsError) -> bool:
    """Leave the verdict in storage; return False when the storage does not take it."""
    verdict = json.dumps({"item": item.key, "reason": str(error)})
    try:
        write_whole(folder.failure, verdict.encode())
    except StorageError:
        return False
    return True


def is_wanted(run: str) -> bool:
    """Whether a run has not been cancelled."""
    return not Storage(load_settings().storage).run(run).cancelled.exists()


def _describe_stranger(storage: Storage, error: PoetsError) -> str:
    if not isinstance(error, NoRunError):
        return _say_here(error)
    return (
        f"A worker on {socket.gethostname()} has the storage {storage.root}, where this run is "
        "not: set its POETS_STORAGE to the storage of the command that submitted the run."
    )


def _report_failure(
    client: redis.Redis, run: str, item: Item, reason: str, is_unable: bool = True
) -> None:
    """Report a failed attempt; after a few in a row, this worker leaves the work to others.

    Args:
        is_unable: False for an attempt that says nothing about this worker.
    """
    report_failed_attempt(client, run, item, reason)
    if not is_unable:
        return
    _failures.append(reason)
    worker = current_task.request.hostname if current_task else None
    more = len(_failures) - _FAILURES_BEFORE_REST
    if worker and more >= 0:
        # Workers of one machine may share a name.
        rest = {"pid": os.getppid(), "reason": reason}
        rest["seconds"] = min(_REST_S * 2**more, _LONGEST_REST_S)
        with contextlib.suppress(OperationalError):
            current_task.app.control.broadcast(REST, arguments=rest, destination=[worker])


def _say_here(error: object) -> str:
    """Name this machine: in a rack, the reason may well be here alone."""
    return f"A worker on {socket.gethostname()} says: {error}"


# By process: a connection that was opened before a fork must not be shared.
@functools.lru_cache(maxsize=1)
def _client(pid: int, broker_url: str) -> redis.Redis:
    return connect(broker_url)
