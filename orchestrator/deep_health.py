"""A probe through every queue to every worker, which says what the worker sees."""

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.driving.broker import Broker, open_broker
from orchestrator.embedded.users import use_broker
from orchestrator.health import HealthCheck, ask_workers
from workers.errors import PoetsError
from workers.items import PROBE
from workers.probing import View, answers_key, count_files
from workers.settings import QUEUES, Settings, poets_version
from workers.storage.root import storage_id

# Long enough for a worker of the embedded stack to start on a busy machine.
_WORKERS_WITHIN_S = 60.0
_ANSWERS_WITHIN_S = 45.0
_AGAIN_AFTER_S = 1.0
_TICK_S = 0.1


@dataclass(frozen=True)
class _Expected:
    """What the answers are compared with."""

    storage: str
    folder: Path | None
    files: int | None


def examine_workers(settings: Settings, folder: Path | None) -> Iterator[HealthCheck]:
    """Yield a check for each worker and queue; without a broker, of the embedded stack.

    Args:
        folder: Photographs that every worker should see.
    """
    try:
        expected = _Expected(
            storage_id(settings.storage),
            folder,
            None if folder is None else count_files(folder.absolute()),
        )
        with use_broker(settings) as connected:
            broker = open_broker(connected)
            workers = _find_workers(broker)
            views = _probe(broker, workers, folder)
    except PoetsError as error:
        yield HealthCheck("probe", False, str(error))
        return
    taken = {queue for state in workers.values() for queue in state["queues"]}
    for queue in (name for name in QUEUES if name not in taken):
        text = f"No worker takes work from queue {queue}. Start `poets worker --queues {queue}`."
        yield HealthCheck("probe", False, text)
    for name, state in workers.items():
        seen = [view for view in views if view.worker == _identify(state)]
        problems = [*_missing(state["queues"], seen), *_problems(seen, expected)]
        yield HealthCheck(
            "probe", not problems, f"{name}: {' '.join(problems) or _describe(seen, expected)}"
        )


def _find_workers(broker: Broker) -> dict[str, dict[str, Any]]:
    """Return the workers that are there; waits for the first."""
    deadline = time.monotonic() + _WORKERS_WITHIN_S
    while time.monotonic() < deadline:
        found = ask_workers(broker)
        if any(state["queues"] for state in found.values()):
            return found
        time.sleep(_TICK_S)
    raise PoetsError("No worker answers. Start `poets worker` with the same broker and storage.")


def _probe(broker: Broker, workers: dict[str, dict[str, Any]], folder: Path | None) -> list[View]:
    """Send probes until each worker has answered from each of its queues, or time is up."""
    token, views, sent = uuid.uuid4().hex, list[View](), 0
    path = os.fspath(folder.absolute()) if folder else ""
    open_ends = {(_identify(one), queue) for one in workers.values() for queue in one["queues"]}
    deadline, due = time.monotonic() + _ANSWERS_WITHIN_S, 0.0
    while open_ends and time.monotonic() < deadline:
        if time.monotonic() >= due:
            # Whoever is free takes a message, so more are sent while somebody has had none.
            for _, queue in sorted(open_ends):
                sent += 1
                broker.app.send_task(
                    PROBE, (token, path), queue=queue, task_id=f"/:probe:{sent}", expires=60
                )
            due = time.monotonic() + _AGAIN_AFTER_S
        for text in broker.client.lpop(answers_key(token), 1000) or []:
            with contextlib.suppress(ValueError):
                views.append(msgspec.json.decode(str(text), type=View))
                open_ends.discard((views[-1].worker, views[-1].queue))
        time.sleep(_TICK_S)
    return views


def _identify(state: dict[str, Any]) -> str:
    return f"{state['host']}:{state['pid']}"


def _missing(queues: Iterable[str], seen: list[View]) -> Iterator[str]:
    missing = sorted(set(queues) - {view.queue for view in seen})
    if missing:
        yield (
            f"It has not answered from {', '.join(missing)} within {_ANSWERS_WITHIN_S:.0f} s: it "
            "is busy, or stuck. See its log, or start it again."
        )


def _problems(seen: list[View], expected: _Expected) -> Iterator[str]:
    for view in seen[:1]:
        if view.poets != poets_version():
            yield f"It is poets {view.poets}, this is {poets_version()}: install the same."
        if view.problem:
            yield view.problem
        if view.storage and view.storage != expected.storage:
            yield (
                f"Its storage {view.root} is another one than that of this command. Mount the same "
                "there, or set its POETS_STORAGE."
            )
        if view.files != expected.files:
            yield (
                f"It sees {view.files:,} of the {expected.files:,} files in {expected.folder}. "
                "Mount the photographs there, under the same path."
            )


def _describe(seen: list[View], expected: _Expected) -> str:
    queues = ", ".join(name for name in QUEUES if name in {view.queue for view in seen})
    view = seen[0]
    files = "" if view.files is None else f", sees {view.files:,} files in {expected.folder}"
    return f"answers from {queues}; poets {view.poets}, storage {view.root}{files}"
