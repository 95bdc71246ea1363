"""The always-on coordinator: drives every run that nobody else drives, one thread each."""

import logging
import threading
import time

import redis

from orchestrator.driving.broker import Broker, open_broker
from orchestrator.driving.driver import drive_run
from orchestrator.driving.result import read_failure
from workers.errors import PoetsError, UsageError
from workers.leases import Keys
from workers.settings import Settings, load_settings
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import list_runs

ALIVE_KEY = "poets:coordinator"
_TICK_S = 1.0
_ALIVE_S = 10
# A run that could not go on (storage full) is tried again after this.
_RETRY_S = 60.0
# A run that was not detached is left to its command, unless that has died.
_ATTENDED_WITHIN_S = 60.0
_log = logging.getLogger("poets.coordinator")


def coordinate(settings: Settings, stop: threading.Event) -> None:
    """Look for unfinished runs and drive them, until `stop` is set.

    Runs that a person interrupted (Ctrl-C), cancelled, or that failed are left alone.
    """
    storage = Storage(settings.storage)
    driven: dict[str, threading.Thread] = {}
    retry_at: dict[str, float] = {}
    broker: Broker | None = None
    while not stop.wait(_TICK_S):
        driven = {name: thread for name, thread in driven.items() if thread.is_alive()}
        try:
            broker = broker or open_broker(settings)
            broker.client.set(ALIVE_KEY, 1, ex=_ALIVE_S)
            open_runs = [
                name for name in _open_runs(storage, broker, retry_at) if name not in driven
            ]
        except (PoetsError, redis.RedisError, OSError) as error:
            _log.warning("broker or storage does not answer: %s", error)
            continue
        for name in open_runs:
            driven[name] = threading.Thread(
                target=_drive, args=(storage, settings, name, retry_at), daemon=True
            )
            driven[name].start()


def _open_runs(storage: Storage, broker: Broker, retry_at: dict[str, float]) -> list[str]:
    """Return the runs that somebody should drive now."""
    found = []
    for folder in list_runs(storage.runs):
        if not _is_open(folder):
            # Whoever opens it again has looked at it: then it need not wait.
            retry_at.pop(folder.name, None)
        elif time.monotonic() >= retry_at.get(folder.name, 0) and not _is_attended(broker, folder):
            found.append(folder.name)
    return found


def _is_open(folder: RunFolder) -> bool:
    ended = (folder.result, folder.cancelled, folder.paused)
    return not any(marker.exists() for marker in ended) and read_failure(folder) is None


def _is_attended(broker: Broker, folder: RunFolder) -> bool:
    """Return whether a command drives the run, or has planned it and is about to."""
    if broker.client.exists(Keys(folder.name).driver_lock):
        return True
    age_s = time.time() - folder.plan.stat().st_mtime
    return not folder.detached.exists() and age_s < _ATTENDED_WITHIN_S


def _drive(storage: Storage, settings: Settings, name: str, retry_at: dict[str, float]) -> None:
    folder = storage.run(name)
    try:
        drive_run(storage, open_broker(settings), name, lambda _: None)
        _log.warning("run %s has finished", name)
    except UsageError as error:
        # The output has come to exist: trying again will not help, a person must look.
        folder.paused.touch()
        _log.warning("%s", error)
    except (PoetsError, OSError) as error:
        _log.warning("%s", error)
    finally:
        # One that has ended loses this again.
        retry_at[name] = time.monotonic() + _RETRY_S


def main() -> None:
    """Coordinate until the process is told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        coordinate(load_settings(), threading.Event())
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
