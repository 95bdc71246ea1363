"""What a worker checks before it takes its first task, and each of its processes sets up.

Nothing is computed here: a model that has run before a fork hangs the children for ever
(tried), so models are loaded by the child that uses them, when it first does.
"""

import importlib.metadata
import os
import sys
import threading
from typing import Any

from celery.signals import celeryd_init, worker_process_init, worker_shutting_down

import workers
from workers.errors import PoetsError, SettingsError
from workers.processes.parent_death import end_with_parent
from workers.settings import load_settings
from workers.storage.atomic import check_storage

# After the time that is given to work under way.
_SHUTDOWN_S = 10.0


def check_surroundings() -> None:
    """Refuse to start where work would be lost.

    Raises:
        SettingsError: When another package shadows `workers`.
        StorageError: When the storage cannot be written.
    """
    check_package()
    check_storage(load_settings().storage)


def check_package() -> None:
    """Make sure that the `workers` imported is that of poets, not somebody's folder."""
    try:
        installed = importlib.metadata.distribution(workers.DISTRIBUTION)
        marker = getattr(workers, "DISTRIBUTION", None)
    except (AttributeError, importlib.metadata.PackageNotFoundError) as error:
        raise SettingsError(
            f"The package `workers` in {workers.__path__} is not that of poets. "
            "Install poets into an environment of its own."
        ) from error
    if not installed or marker != "poets":
        raise SettingsError(f"The package `workers` in {workers.__path__} is not that of poets.")


@celeryd_init.connect
def _refuse_bad_surroundings(**_: Any) -> None:
    try:
        check_surroundings()
    except PoetsError as error:
        sys.exit(f"Error: {error}")


@worker_process_init.connect
def _end_with_worker(**_: Any) -> None:
    # A child that is busy does not notice that the worker was killed.
    end_with_parent()


@worker_shutting_down.connect
def _end_in_any_case(how: str, **_: Any) -> None:
    # A broker that is gone is waited for by Celery, for ever, just to say goodbye. What was
    # under way was not acknowledged, so it comes again. (A warm end waits for work.)
    if how != "Warm":
        timer = threading.Timer(_SHUTDOWN_S, os._exit, [1])
        timer.daemon = True
        timer.start()
