"""What to do next for a run: a pure function of what is planned, stored and under way.

It sends what is missing, sends again what was lost, and never trusts the queue: a
message can vanish (kombu takes it off the list before it records it as unacked), so only
storage says that something is done.
"""

import itertools
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Literal

from workers.items import CONVERT, TRAIN, Item

# A message that a worker has just taken is for a moment neither queued nor leased.
DELIVERY_GRACE_S = 4.0
# Most batches in flight, so that Redis stays small and another run's first batch waits for
# seconds only: four for each that is being worked on, and at least twelve, in equal parts for all
# runs that wait; and, as batches can be quick, twice as many as were done since the last look.
WINDOW = 12
WINDOW_PER_WORKER = 4
WINDOW_PER_DONE, QUICK_WINDOW = 2, 64
LEAST_WINDOW = 2
# Starts that died without a word before an item is given up.
MOST_STARTS = 5
# A person has to step in after this many attempts that ended with a reason (storage full), for as
# long as they take at one item, while nobody finishes any batch or works on one.
MOST_FAILED_ATTEMPTS = 4
# Before the second attempt at an item; it doubles with each, up to that of the last.
_RETRY_WAIT_S = 2.0


@dataclass(frozen=True)
class Seen:
    """What can be seen of a run at one moment.

    Attributes:
        done: Batches whose result is in storage.
        alive: Items that are queued or leased.
        leased: How many items somebody works on.
        busy: The same for all runs together, as far as the broker tells; at least `leased`.
        rivals: How many other runs have batches in the queues.
        starts: Item -> how often it was started without an end.
        failed_attempts: Item -> why its last attempt gave up.
        now: Seconds on a clock that only moves forward.
    """

    done: Set[int]
    has_backbone: bool
    has_model: bool
    alive: Set[Item]
    leased: int
    starts: Mapping[Item, int]
    failed_attempts: Mapping[Item, str]
    now: float
    is_cancelled: bool = False
    failure: str | None = None
    busy: int = 0
    rivals: int = 0


@dataclass(frozen=True)
class Memory:
    """What the reconciler remembers from one step to the next; losing it costs duplicates.

    Attributes:
        last_alive: Item -> when it was last sent, queued or leased.
        failed_attempts: Item -> how many attempts in a row gave up.
        done: How many batches were finished.
        strikes: Attempts at any item that gave up since then and were followed by another.
        well: When a batch was last finished, or nothing had failed.
        first: No batch below this number is missing.
    """

    last_alive: Mapping[Item, float] = field(default_factory=dict)
    failed_attempts: Mapping[Item, int] = field(default_factory=dict)
    done: int = 0
    strikes: int = 0
    well: float | None = None
    first: int = 0


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: "send" an item; "quarantine" a batch that kills every worker; "finish" the run;
            "fail" it for good; "pause" it until a person resumes it; "stop" it because it
            was cancelled.
    """

    kind: Literal["send", "quarantine", "finish", "fail", "pause", "stop"]
    item: Item | None = None
    reason: str = ""


def reconcile(
    kind: Literal["train", "label"], batches: int, seen: Seen, memory: Memory
) -> tuple[list[Action], Memory]:
    """Return what to do now, and what to remember.

    Args:
        kind: "train" ends with a model, "label" with the last batch.
        batches: Number of batches planned, numbered from 0.
    """
    if seen.is_cancelled:
        return [Action("stop")], memory
    if seen.failure is not None:
        return [Action("fail", reason=seen.failure)], memory

    memory = replace(
        memory, last_alive={**memory.last_alive, **dict.fromkeys(seen.alive, seen.now)}
    )
    # At the first look, all that was done is new.
    news = 0 if memory.well is None else max(0, len(seen.done) - memory.done)
    if len(seen.done) > memory.done or not seen.failed_attempts or memory.well is None:
        memory = replace(memory, strikes=0, well=seen.now)
    memory = replace(memory, done=len(seen.done))
    if kind == "train" and seen.has_model:
        return [Action("finish")], memory
    if not seen.has_backbone:
        return _decide([CONVERT], seen, memory)
    first, missing = _missing(batches, seen, memory.first, _window(seen, news))
    memory = replace(memory, first=first)
    if missing:
        return _decide(missing, seen, memory)
    if kind == "train":
        return _decide([TRAIN], seen, memory)
    return [Action("finish")], memory


def _window(seen: Seen, news: int) -> int:
    """Return how many batches may be in flight.

    Args:
        news: Batches that were done since the last look.
    """
    # What others left in the broker must not let the window grow without limit.
    busy = max(seen.leased, min(seen.busy, WINDOW + WINDOW_PER_WORKER * seen.leased))
    share = max(WINDOW, WINDOW_PER_WORKER * busy) // (1 + seen.rivals)
    return max(LEAST_WINDOW, min(WINDOW_PER_DONE * news, QUICK_WINDOW), share)


def _missing(batches: int, seen: Seen, first: int, window: int) -> tuple[int, list[Item]]:
    """Return the first missing batch, and those within the window."""
    while first < batches and first in seen.done:
        first += 1
    missing = (Item.of_batch(batch) for batch in range(first, batches) if batch not in seen.done)
    return first, list(itertools.islice(missing, window))


def _decide(items: list[Item], seen: Seen, memory: Memory) -> tuple[list[Action], Memory]:
    waiting = [item for item in items if item in seen.failed_attempts and item not in seen.alive]
    if waiting and _is_hopeless(len(waiting), seen, memory):
        return [Action("pause", waiting[0], seen.failed_attempts[waiting[0]])], memory
    actions: list[Action] = []
    last_alive, failed_attempts = dict(memory.last_alive), dict(memory.failed_attempts)
    strikes = memory.strikes
    for item in items:
        if item in seen.alive:
            continue
        silent_s = seen.now - last_alive.get(item, float("-inf"))
        if item in seen.failed_attempts:
            failed = failed_attempts.get(item, 0)
            if silent_s < _RETRY_WAIT_S * 2 ** min(failed, MOST_FAILED_ATTEMPTS - 1):
                continue
            action: Action | None = Action("send", item)
            failed_attempts[item], strikes = failed + 1, strikes + 1
        else:
            failed_attempts.pop(item, None)
            action = _after_silence(item, silent_s, seen.starts.get(item, 0))
        if action is None:
            continue
        if action.kind == "send":
            last_alive[item] = seen.now
        actions.append(action)
        if action.kind == "fail":
            return [action], memory
    known = frozenset(items)
    # A batch from before the window shrank may be under way still.
    alive = {
        item: when
        for item, when in last_alive.items()
        if item in known or (item.batch is not None and item.batch not in seen.done)
    }
    memory = replace(memory, failed_attempts=failed_attempts, strikes=strikes)
    return actions, replace(memory, last_alive=alive)


def _is_hopeless(waiting: int, seen: Seen, memory: Memory) -> bool:
    """Whether nobody is left who can: one bad worker must not stop a run that others can do."""
    failed_for_s = 0.0 if memory.well is None else seen.now - memory.well
    return (
        not seen.leased
        and memory.strikes + waiting >= MOST_FAILED_ATTEMPTS
        and failed_for_s >= _RETRY_WAIT_S * (2**MOST_FAILED_ATTEMPTS - 1)
    )


def _after_silence(item: Item, silent_s: float, starts: int) -> Action | None:
    if silent_s < DELIVERY_GRACE_S:
        return None
    if starts < MOST_STARTS:
        return Action("send", item)
    if item.batch is not None:
        return Action("quarantine", item, f"the batch ended its worker {MOST_STARTS} times")
    reason = f"The worker died {MOST_STARTS} times while it was busy ({item.key})."
    return Action("fail", item, reason)
