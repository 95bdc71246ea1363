"""The coordinator: runs always, and drives every run that nobody else drives, one thread each."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Container

import redis

from orchestrator.driving.broker import Broker, is_locked, open_broker
from orchestrator.driving.driver import drive_run
from orchestrator.driving.result import read_failure
from workers.errors import PoetsError, RefusedError
from workers.leases import Keys
from workers.processes.readiness import announce_ready
from workers.settings import Settings, load_settings
from workers.storage.atomic import write_whole
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import Run, list_runs
from workers.storage.root import storage_id

ALIVE_KEY = "poets:coordinator"
_TICK_S = 1.0
_ALIVE_S = 10
# An answer of the broker that is this old will do: a message counts as lost only after seconds.
_SHARED_FOR_S = 0.5
# A run that could not go on (storage full) is tried again after this.
_RETRY_S = 60.0
# A run that was not detached is left to its command, unless that has died.
_ATTENDED_WITHIN_S = 60.0
# A folder that changes twice within this may keep the time of the first change.
_SAME_TIME_S = 3.0
# For a storage whose folders keep no time of their changes, or show it late.
_LIST_EVERY_S = 60.0
_log = logging.getLogger("poets.coordinator")


class UnfinishedRuns:
    """The runs of a storage that have not ended.

    Runs that have ended cost nothing as long as nothing changes: all runs are listed only
    when the time of their folder does, because one was added or reopened (`reopen_run`).
    """

    def __init__(self, storage: Storage) -> None:
        self._runs = storage.runs
        self._folders: list[RunFolder] = []
        self._changed_ns = 0
        self._changed = self._listed = -math.inf

    def find(self) -> list[RunFolder]:
        """Return them, oldest first.

        Raises:
            OSError: When the storage does not answer.
        """
        now = time.monotonic()
        try:
            changed_ns = self._runs.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        if changed_ns != self._changed_ns:
            self._changed = now
        if now - self._changed <= _SAME_TIME_S or now - self._listed >= _LIST_EVERY_S:
            self._folders, self._listed = list_runs(self._runs), now
            # Only now: a listing that fails must not use the change up.
            self._changed_ns = changed_ns
        self._folders = [folder for folder in self._folders if _is_unfinished(folder)]
        return self._folders


def detached_runs(storage: Storage) -> list[str]:
    """Return the unfinished runs that somebody left to a coordinator, oldest first."""
    return [
        folder.name
        for folder in list_runs(storage.runs)
        if folder.detached.exists() and _is_unfinished(folder)
    ]


def _is_unfinished(folder: RunFolder) -> bool:
    ended = (folder.result, folder.cancelled, folder.paused)
    return not any(marker.exists() for marker in ended) and read_failure(folder) is None


def coordinate(settings: Settings, stop: threading.Event, only_detached: bool = False) -> None:
    """Drive unfinished runs until `stop` is set.

    Runs that a person interrupted (Ctrl-C), cancelled, or that failed are left alone.

    Args:
        only_detached: Leave alone a run whose command has died, too: nobody has asked for it.
    """
    storage = Storage(settings.storage)
    unfinished = UnfinishedRuns(storage)
    driven: dict[str, threading.Thread] = {}
    retry_at: dict[str, float] = {}
    broker: Broker | None = None
    said = ""
    while not stop.wait(_TICK_S):
        driven = {name: thread for name, thread in driven.items() if thread.is_alive()}
        try:
            broker = broker or open_broker(settings, _SHARED_FOR_S)
            broker.client.set(ALIVE_KEY, 1, ex=_ALIVE_S)
            announce_ready()
            storage_id(storage.root)
            undriven = undriven_runs(unfinished, broker, retry_at, driven, only_detached)
        except (PoetsError, redis.RedisError, OSError) as error:
            if str(error) != said:
                said = str(error)
                _log.warning("broker or storage does not answer: %s", error)
            continue
        said = ""
        for name in undriven:
            driven[name] = threading.Thread(
                target=_drive, args=(storage, broker, name, retry_at), daemon=True
            )
            driven[name].start()


def undriven_runs(
    unfinished: UnfinishedRuns,
    broker: Broker,
    retry_at: dict[str, float],
    driven: Container[str] = (),
    only_detached: bool = False,
) -> list[str]:
    """Return the runs that somebody should drive now, oldest first.

    Args:
        driven: Runs that this process drives.
        retry_at: When each run that could not continue is due, in seconds of the monotonic clock.
            Runs that have ended are removed, so one that is reopened is due at once.
    """
    folders = unfinished.find()
    for name in set(retry_at) - {folder.name for folder in folders}:
        retry_at.pop(name, None)
    now = time.monotonic()
    return [
        folder.name
        for folder in folders
        if folder.name not in driven
        and now >= retry_at.get(folder.name, 0)
        and (folder.detached.exists() or not only_detached)
        and not _is_attended(broker, folder)
    ]


def _is_attended(broker: Broker, folder: RunFolder) -> bool:
    """Whether a command drives the run, or has planned it and is about to."""
    lock = Keys(folder.name).driver_lock
    if broker.client.exists(lock) and is_locked(broker.client, lock):
        return True
    age_s = time.time() - folder.plan.stat().st_mtime
    return not folder.detached.exists() and age_s < _ATTENDED_WITHIN_S


def _drive(storage: Storage, broker: Broker, name: str, retry_at: dict[str, float]) -> None:
    folder = storage.run(name)
    try:
        drive_run(Run.open(storage, name), broker, lambda _: None)
        _log.warning("run %s has finished", name)
    except RefusedError as error:
        # Its output has come to exist meanwhile: a retry will not help, a person must decide.
        write_whole(folder.paused, b"")
        _log.warning("run %s: %s It is left alone until somebody resumes it.", name, error)
    except PoetsError as error:
        _log.warning("run %s: %s", name, error)
    except OSError as error:
        _log.warning("run %s: %s", name, error)
    finally:
        # Removed again if the run has ended.
        retry_at[name] = time.monotonic() + _RETRY_S


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        # Started for one detached run, or by `poets up`, which is no word about other runs.
        coordinate(load_settings(), threading.Event(), only_detached=True)
