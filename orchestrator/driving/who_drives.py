"""Who drives which run right now, as the broker says."""

import time
from dataclasses import dataclass
from enum import Enum

import redis

from orchestrator.driving.broker import broker_errors
from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.embedded.stack import find_stack
from orchestrator.embedded.users import attach_broker
from workers.leases import DRIVER_LOCKS, connect, run_of
from workers.settings import Settings
from workers.storage.plan import Plan, Run

# A command that has planned its run starts the stack first; until then nobody drives it.
_STARTS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Drivers:
    """What the broker knows.

    Attributes:
        runs: Those that a process drives.
        has_coordinator: Whether a coordinator takes up what nobody drives.
        only_detached: Whether it does so with detached runs only, as the embedded one.
    """

    runs: frozenset[str] = frozenset()
    has_coordinator: bool = False
    only_detached: bool = False


def find_drivers(settings: Settings) -> Drivers | None:
    """Return who drives what; None when the broker does not say.

    Without a broker, and while the embedded stack is down, nobody drives anything.
    """
    attached = attach_broker(settings)
    if attached is None:
        return Drivers()
    try:
        client = connect(attached.require_broker())
        runs = frozenset(run_of(str(key)) for key in client.scan_iter(DRIVER_LOCKS, count=1000))
        is_embedded = settings.broker_url is None
        is_kept = is_embedded and find_stack(settings).keep.exists()
        return Drivers(runs, is_kept or bool(client.exists(ALIVE_KEY)), is_embedded)
    except (redis.RedisError, ValueError, TypeError):
        return None


def has_coordinator(settings: Settings) -> bool:
    """Whether a coordinator is up: one question to the broker, for a health check.

    Raises:
        BrokerError: When the broker does not answer.
    """
    attached = attach_broker(settings)
    if attached is None:
        return False
    with broker_errors(attached):
        return bool(connect(attached.require_broker()).exists(ALIVE_KEY))


class Situation(Enum):
    """What commands call a run that has not ended, and why it is in that state."""

    DRIVEN = "running", "driven by a process, or taken up by a coordinator"
    AWAITS_COORDINATOR = "running", "a coordinator will take it up"
    AWAITS_SWEEP = "running", "a trial that waits for the others of its sweep"
    STARTING = "running", "planned a moment ago"
    STOPPED = "stopped", "by a person, or because it could not continue"
    UNKNOWN = "unknown", "the broker does not say"
    NO_COORDINATOR = "stalled", "detached, and no coordinator is up"
    ABANDONED = "stalled", "whatever drove it has died"

    @property
    def state(self) -> str:
        return self.value[0]


def find_situation(drivers: Drivers | None, run: Run, has_trouble: bool) -> Situation:
    """Return how a run is that has not ended.

    Args:
        has_trouble: Whether it could not continue when it was last tried.
    """
    folder, sweep = run.folder, sweep_of(run.plan)
    if drivers and run.name in drivers.runs:
        return Situation.DRIVEN
    if folder.paused.exists():
        return Situation.STOPPED
    if drivers is None:
        return Situation.UNKNOWN
    is_detached = folder.detached.exists()
    if drivers.has_coordinator and (is_detached or not drivers.only_detached):
        is_taken_up = is_detached or has_trouble
        return Situation.DRIVEN if is_taken_up else Situation.AWAITS_COORDINATOR
    if sweep and any(name.startswith(f"{sweep}.") for name in drivers.runs):
        return Situation.AWAITS_SWEEP
    if has_trouble:
        return Situation.STOPPED
    if is_detached:
        return Situation.NO_COORDINATOR
    is_new = 0 <= time.time() - folder.plan.stat().st_mtime < _STARTS_WITHIN_S
    return Situation.STARTING if is_new else Situation.ABANDONED


def sweep_of(plan: Plan) -> str | None:
    """Return what the trials of its sweep are called, but for their number; None for no trial."""
    # Plans of version 0.1.0 do not name it. A retry of a trial has its options, but is none.
    hides_test = plan.training is not None and not plan.training.evaluate_test
    return plan.sweep or (plan.name.rpartition(".")[0] if hides_test and not plan.retried else None)
