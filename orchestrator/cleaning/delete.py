"""Delete runs: only those that nobody drives, works on, or still needs."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import redis

from orchestrator.cleaning.garbage import measure
from orchestrator.driving.broker import DriverLock
from orchestrator.driving.result import read_failure
from orchestrator.driving.who_drives import Drivers, find_drivers, find_situation
from orchestrator.embedded.users import attach_broker
from workers.errors import NoRunError, PoetsError, RunDrivenError, RunError, RunNeededError
from workers.leases import Keys, connect, forget_run
from workers.settings import Settings
from workers.storage.atomic import storage_errors
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import list_shards
from workers.storage.plan import Plan, Run, list_runs, read_plan
from workers.storage.temporary import remove, temporary_in


@dataclass(frozen=True)
class Deletable:
    """A run that may be deleted.

    Attributes:
        plan: None when it cannot be read.
        files, bytes: What that frees; other names of the same file free nothing.
    """

    folder: RunFolder
    plan: Plan | None
    files: int
    bytes: int


def find_deletable(settings: Settings, names: Sequence[str]) -> list[Deletable]:
    """Return the runs of these names, if all of them may be deleted.

    Raises:
        NoRunError: When there is no such run.
        RunDrivenError: When a process drives one, or works on it, or will.
        RunNeededError: When a run that has not ended was made from one.
        StorageError: When the storage refuses.
    """
    storage, drivers = Storage(settings.storage), find_drivers(settings)
    found = []
    for name in dict.fromkeys(names):
        folder = storage.run(name)
        with storage_errors(f"read {folder.path}"):
            if folder.path.is_symlink():
                raise RunError(f"The folder of run {name!r} is a link, which is not followed.")
            plan = _plan(folder)
            _check_driven(storage, folder, plan, drivers)
            size = measure("run", folder.path)
        found.append(Deletable(folder, plan, size.files, size.bytes))
    with _broker(settings) as client:
        for one in found:
            if client and any(client.scan_iter(f"{Keys(one.folder.name).lease('')}*", count=1000)):
                raise RunDrivenError(
                    f"A worker still works on run {one.folder.name!r}.", one.folder.name
                )
    with storage_errors(f"read {storage.runs}"):
        _check_needed(storage, {one.folder.name for one in found})
    return found


def delete_run(settings: Settings, one: Deletable) -> None:
    """Delete a run: at once for everybody else, then file by file.

    What it shared with other runs stays: bottlenecks, backbones and weights. They count as used
    until now. So does a file that a labelling job has written.

    Raises:
        RunDrivenError: When somebody has begun to drive it.
        StorageError: When the storage refuses; what is left over is garbage.
    """
    folder = one.folder
    with _broker(settings) as client, storage_errors(f"delete {folder.path}"):
        lock = DriverLock(client, folder.name) if client else None
        if lock and not lock.take():
            raise RunDrivenError(f"Run {folder.name!r} is being driven.", folder.name)
        try:
            if one.plan:
                _note_use(Run(Storage(settings.storage), folder, one.plan))
            hidden = temporary_in(folder.path.parent)
            folder.path.rename(hidden)
            if client and one.plan:
                forget_run(client, folder.name, one.plan.batches)
        finally:
            if lock:
                lock.give_back()
        remove(hidden)


def _plan(folder: RunFolder) -> Plan | None:
    try:
        return read_plan(folder)
    except NoRunError:
        raise
    except PoetsError:
        return None


def _check_driven(
    storage: Storage, folder: RunFolder, plan: Plan | None, drivers: Drivers | None
) -> None:
    name = folder.name
    if drivers and name in drivers.runs:
        raise RunDrivenError(f"Run {name!r} is being driven.", name)
    if plan is None or _has_ended(folder):
        return
    situation = find_situation(drivers, Run(storage, folder, plan), folder.trouble.exists())
    if situation.state == "running":
        raise RunDrivenError(f"Run {name!r} has not ended, and somebody will drive it.", name)
    if situation.state == "unknown":
        raise RunDrivenError(
            f"Run {name!r} has not ended, and the broker does not say whether it is driven.", name
        )


def _check_needed(storage: Storage, names: set[str]) -> None:
    """Refuse if a run that has not ended was made from one of these.

    The plan of such a run has copied the images and splits, a labelling job also the head. But a
    sweep reads the images of its run again for each trial, and what is under way is left alone.
    """
    for other in list_runs(storage.runs):
        if other.name in names or _has_ended(other):
            continue
        plan = _plan(other)
        made_from = {plan.parent, plan.labelling.model if plan.labelling else None} if plan else ()
        for name in names.intersection(filter(None, made_from)):
            raise RunNeededError(
                f"Run {name!r} is needed: run {other.name!r} was made from it and has not ended.",
                other.name,
            )


def _has_ended(folder: RunFolder) -> bool:
    has_marker = folder.result.exists() or folder.cancelled.exists()
    return has_marker or read_failure(folder) is not None


def _note_use(run: Run) -> None:
    """Let the bottlenecks of a run count as used until now, see `orchestrator.cleaning.garbage`."""
    # A run whose manifest is damaged, or a shard that is gone.
    with contextlib.suppress(PoetsError):
        for shard in list_shards(run.folder):
            with contextlib.suppress(OSError):
                os.utime(run.shard(shard))


@contextlib.contextmanager
def _broker(settings: Settings) -> Iterator[redis.Redis | None]:
    """Yield a client, or None without a broker: then nobody drives anything, or has said so."""
    attached = attach_broker(settings)
    client = connect(attached.require_broker()) if attached else None
    try:
        if client:
            client.ping()
    except redis.RedisError:
        client = None
    yield client
