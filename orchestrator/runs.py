"""What runs there are, how each of them is, and what changes that."""

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.attended import attended
from orchestrator.driving.done_batches import Stored
from orchestrator.driving.result import Result, read_failure, read_result
from orchestrator.driving.unreachable import allow_failed
from orchestrator.driving.who_drives import Drivers, Situation, find_drivers, find_situation
from workers.errors import PoetsError, RunError
from workers.settings import Settings
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.layout import Storage
from workers.storage.plan import Plan, Run, list_runs, read_plan
from workers.storage.regular_files import read_regular_file
from workers.storage.unreachable import list_unreachable


@dataclass(frozen=True)
class RunState:
    """How one run is.

    Attributes:
        plan: None when it cannot be read.
        state: finished, failed, cancelled, running, stopped, stalled, unknown, or damaged.
        situation: Why, of a run that has not ended.
        reason: Why it failed, could not continue, or cannot be read; "" when there is none.
        is_mendable: Whether it failed, and has images that may be there another time.
    """

    name: str
    plan: Plan | None
    state: str
    situation: Situation | None = None
    reason: str = ""
    result: Result | None = None
    batches_done: int = 0
    is_mendable: bool = False


def list_states(settings: Settings) -> list[RunState]:
    """Return every run of a storage, oldest first."""
    storage = Storage(settings.storage)
    # Asked once: a broker that is away takes seconds each time.
    drivers = find_drivers(settings)
    states = []
    for folder in list_runs(storage.runs):
        try:
            states.append(_state(Run(storage, folder, read_plan(folder)), drivers))
        # One that cannot be read must not hide the others.
        except (PoetsError, OSError, ValueError) as error:
            states.append(RunState(folder.name, None, "damaged", reason=str(error)))
    return states


def state_of(settings: Settings, run: Run) -> RunState:
    """Return how one run is, from storage and from who drives it."""
    return _state(run, find_drivers(settings))


def _state(run: Run, drivers: Drivers | None) -> RunState:
    folder, plan = run.folder, run.plan
    if folder.result.exists():
        result = read_result(run)
        return RunState(plan.name, plan, "finished", result=result, batches_done=plan.batches)
    state = RunState(plan.name, plan, "cancelled", batches_done=len(Stored.read(run).done))
    if folder.cancelled.exists():
        return state
    with storage_errors(f"read {folder.failure}"):
        failure = read_failure(folder)
    if failure is not None:
        is_mendable = any(list_unreachable(folder))
        return replace(state, state="failed", reason=failure, is_mendable=is_mendable)
    reason = ""
    with contextlib.suppress(OSError):
        reason = read_regular_file(folder.trouble).decode("utf-8", "replace").rstrip(".")
    situation = find_situation(drivers, run, bool(reason))
    return replace(state, state=situation.state, situation=situation, reason=reason)


def cancel_run(run: Run) -> None:
    """Cancel a run: no further work is sent, and what is queued is skipped.

    Raises:
        RunError: When it has finished.
    """
    if run.folder.result.exists():
        raise RunError(f"Run {run.name!r} has finished; there is nothing to cancel.")
    write_whole(run.folder.cancelled, b"")


def reopen_run(run: Run, max_failed: float | None = None) -> Result | None:
    """Clear what keeps an unfinished run from continuing; return the result of a finished one.

    A labelling job whose output was removed writes it again.

    Args:
        max_failed: Which part of its images may be unreachable from now on, 0 to 1.
    """
    folder, plan = run.folder, run.plan
    if folder.result.exists():
        if not plan.labelling or Path(plan.labelling.output).exists():
            return read_result(run)
        folder.result.unlink()
    attended.append(run)
    if max_failed is not None:
        allow_failed(run, max_failed)
    for marker in (folder.cancelled, folder.paused, folder.failure, folder.trouble):
        marker.unlink(missing_ok=True)
    # A coordinator lists the runs again when their folder has changed, or else once a minute.
    with contextlib.suppress(OSError):
        os.utime(run.storage.runs)
    return None
