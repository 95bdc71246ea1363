"""What a worker and each of its processes do when they start, and when they end.

Nothing is computed here: a model that ran before the fork makes the children hang forever
(tried), so each child loads its models itself, on first use.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from celery.signals import celeryd_init, worker_process_init, worker_ready, worker_shutting_down
from celery.worker.control import control_command, inspect_command

from workers.app import REST, TELL_STATE
from workers.errors import NoStorageError, PoetsError
from workers.leases import connect, tell_waiting
from workers.presence import keep_present
from workers.processes.parent_death import end_with_parent
from workers.processes.semaphores import check_semaphores
from workers.settings import QUEUES, load_settings, poets_version
from workers.storage.root import storage_id
from workers.storage.trial import try_storage

_log = logging.getLogger(__name__)
_queues: list[str] = []
# While this worker rests: the queues that it has left, and why.
_left: list[str] = []
_reason = ""
# As this process was started: `nohup` ignores it.
_ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
_STORAGE_WAIT_S = 2.0
# On top of the time that work under way is given.
_SHUTDOWN_S = 10.0


@inspect_command(name=TELL_STATE)
def _tell_state(_: Any) -> dict[str, Any]:
    return {
        "poets": poets_version(),
        "rests": _reason if _left else "",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "queues": _queues,
    }


@control_command(name=REST)
def _rest(state: Any, pid: int, seconds: float, reason: str) -> None:
    """Leave the queues for a while to workers that can do what this one cannot."""
    global _reason  # noqa: PLW0603
    consumer = state.consumer
    if pid == os.getpid() and not _left:
        _reason = reason
        _left.extend(name for name in QUEUES if consumer.task_consumer.consuming_from(name))
        _log.warning(
            "attempts failed in a row, so no work is taken for %.0f s: %s", seconds, reason
        )
        for name in _left:
            consumer.cancel_task_queue(name)
        consumer.timer.call_after(seconds, _end_rest, (consumer,))


@worker_ready.connect
def _be_present(sender: Any, **_: Any) -> None:
    # The signal comes again with each new connection.
    if not _queues:
        _queues.extend(name for name in QUEUES if sender.task_consumer.consuming_from(name))
        broker_url = load_settings().require_broker()
        keep_present(broker_url, lambda: [name for name in _queues if name not in _left])


@worker_ready.connect
def _end_rest(sender: Any, **_: Any) -> None:
    # Also when a connection is new: the timers ended with the old one.
    while _left:
        sender.add_task_queue(_left.pop())


@worker_ready.connect
def _end_at_hangup(**_: Any) -> None:
    # Celery would start the worker again, or leave it as it is in a terminal.
    def end(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGHUP, signal.SIG_IGN if _ignores_hangup else end)


@celeryd_init.connect
def _refuse_bad_machine(**_: Any) -> None:
    """Wait for the storage; refuse one that cannot be written, and a machine that cannot work."""
    try:
        _wait_for_storage()
        check_semaphores()
    except PoetsError as error:
        sys.exit(f"Error: {error}")


def _wait_for_storage() -> None:
    """Wait for the storage, which may be mounted later, or be made by the first command."""
    settings, waits = load_settings(), False
    root, worker = settings.storage, f"{socket.gethostname()}:{os.getpid()}"
    while True:
        try:
            storage_id(root)
            break
        except NoStorageError as error:
            if not waits:
                _log.warning(
                    "%s Waiting for it: mount it. The first command makes a new one, such as "
                    "`poets submit-dataset` or `poets fetch-weights`.",
                    error,
                )
            waits = True
            if settings.broker_url:
                tell_waiting(connect(settings.broker_url), worker, str(error), 3 * _STORAGE_WAIT_S)
            time.sleep(_STORAGE_WAIT_S)
    try_storage(root)


@worker_process_init.connect
def _end_with_worker(**_: Any) -> None:
    # A busy child does not notice that the worker was killed.
    end_with_parent()


@worker_shutting_down.connect
def _end_in_any_case(how: str, **_: Any) -> None:
    # Celery waits forever for a broker that is gone, just to say goodbye. What was under
    # way was not acknowledged, so it is delivered again. (A warm shutdown waits for work.)
    if how != "Warm":
        timer = threading.Timer(_SHUTDOWN_S, os._exit, [1])
        timer.daemon = True
        timer.start()
