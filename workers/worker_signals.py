"""What a worker and each of its processes do when they start, and when they end.

Nothing is computed here: a model that ran before the fork makes the children hang for ever
(tried), so each child loads its models itself, on first use.
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

# On top of the time that work under way is given.
_SHUTDOWN_S = 10.0


@celeryd_init.connect
def _refuse_bad_storage(**_: Any) -> None:
    try:
        check_storage(load_settings().storage)
    except PoetsError as error:
        sys.exit(f"Error: {error}")


@worker_process_init.connect
def _end_with_worker(**_: Any) -> None:
    # A busy child does not notice that the worker was killed.
    end_with_parent()


@worker_shutting_down.connect
def _end_in_any_case(how: str, **_: Any) -> None:
    # Celery waits for ever for a broker that is gone, just to say goodbye. What was under
    # way was not acknowledged, so it is delivered again. (A warm shutdown waits for work.)
    if how != "Warm":
        timer = threading.Timer(_SHUTDOWN_S, os._exit, [1])
        timer.daemon = True
        timer.start()
