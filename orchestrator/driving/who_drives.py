"""Who drives which run right now, as the broker says."""

import time
from dataclasses import dataclass

import redis

from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.embedded.stack import find_stack
from orchestrator.embedded.users import attach_broker
from workers.leases import DRIVER_LOCKS, connect, run_of
from workers.settings import Settings
from workers.storage.layout import RunFolder
from workers.storage.plan import Plan

# A command has planned its run and starts the stack: for so long nobody drives it yet.
_STARTS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Drivers:
    """What the broker knows.

    Attributes:
        runs: Those that a process drives.
        has_coordinator: Whether a coordinator takes up what nobody drives.
    """

    runs: frozenset[str] = frozenset()
    has_coordinator: bool = False


def find_drivers(settings: Settings) -> Drivers | None:
    """Return who drives what; None when the broker does not say.

    Without a broker, and with the embedded stack down, nobody drives anything.
    """
    attached = attach_broker(settings)
    if attached is None:
        return Drivers()
    try:
        client = connect(attached.require_broker())
        runs = frozenset(run_of(str(key)) for key in client.scan_iter(DRIVER_LOCKS, count=1000))
        is_kept = settings.broker_url is None and find_stack(settings).keep.exists()
        return Drivers(runs, is_kept or bool(client.exists(ALIVE_KEY)))
    except (redis.RedisError, ValueError, TypeError):
        return None


def describe_driving(
    drivers: Drivers | None, folder: RunFolder, plan: Plan, trouble: str, flags: str
) -> tuple[str, str]:
    """Return how a run stands that has not ended, and what there is to say of it.

    Args:
        trouble: Why it could not go on, or "".
        flags: What `poets resume` needs besides the name.
    """
    resume = _what_to_do(plan, flags)
    if drivers and plan.name in drivers.runs:
        return "running", _still(trouble)
    if folder.paused.exists():
        return "stopped", _mend(trouble, resume)
    if drivers is None:
        return "unknown", f"the broker does not say whether it is driven; {resume}, or joins it"
    if drivers.has_coordinator:
        is_taken_up = folder.detached.exists() or trouble
        return "running", _still(trouble) if is_taken_up else "a coordinator takes it up"
    sweep = _sweep_of(plan)
    if sweep and any(name.startswith(f"{sweep}.") for name in drivers.runs):
        return "running", "waits for the other trials of its sweep"
    if trouble:
        return "stopped", _mend(trouble, resume)
    if folder.detached.exists():
        return "stalled", f"no coordinator is up to drive it; {resume}"
    if 0 <= time.time() - folder.plan.stat().st_mtime < _STARTS_WITHIN_S:
        return "running", "is starting"
    return "stalled", f"nobody drives it; {resume}"


def _what_to_do(plan: Plan, flags: str) -> str:
    if _sweep_of(plan):
        begin = f"`poets sweep {plan.parent}{flags}` with the same values begins anew"
        return f"its sweep is over; {begin}"
    return f"`poets resume {plan.name}{flags}` goes on with it"


def _sweep_of(plan: Plan) -> str | None:
    """Return what the trials of its sweep are called, but for their number; None for no trial."""
    # Plans of before 0.1.0 do not name it. A retry of a trial has its options, but is none.
    hides_test = plan.training is not None and not plan.training.evaluate_test
    return plan.sweep or (plan.name.rpartition(".")[0] if hides_test and not plan.retried else None)


def _still(trouble: str) -> str:
    return f"cannot go on now: {trouble}; tried again every minute" if trouble else ""


def _mend(trouble: str, resume: str) -> str:
    return f"could not go on: {trouble}; when that is mended, {resume}" if trouble else resume
