"""What a worker checks before it takes its first task, and each of its processes sets up.

Nothing is computed here: a model that has run before a fork hangs the children for ever
(tried), so models are loaded by the child that uses them, when it first does.
"""

import os
import sys
import threading
from typing import Any

from celery.signals import celeryd_init, worker_process_init, worker_shutting_down

from workers.errors import PoetsError
from workers.processes.parent_death import end_with_parent
from workers.settings import load_settings
from workers.storage.atomic import check_storage

# After the time that is given to work under way.
_SHUTDOWN_S = 10.0


@celeryd_init.connect
def _refuse_bad_surroundings(**_: Any) -> None:
    try:
        check_storage(load_settings().storage)
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
