"""How far a run is: images done, rate, time to end, failures."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

_Item = TypeVar("_Item")

# The rate is measured over at least this time ...
_WINDOW_S = 20.0
# ... and over one and a half times the longest wait for a batch, so that processes which
# finish theirs at the same moment do not count as fast; a wait longer than this does not count.
_WAITS = 1.5
_LONGEST_WAIT_S = 120.0
_FEWEST_CHANGES = 3
_TICK_S = 0.2


@dataclass(frozen=True)
class Progress:
    """One moment of a run.

    Attributes:
        phase: What is going on, in words for a person.
        rate: Units a second, recently; None while there is nothing to go by.
        left_s: Seconds to the end of this phase, at that rate.
        failed: Images, whatever the unit.
        note: What else there is to say of the phase, in words.
        problem: Why it does not get on, such as the reason of a failed attempt; or "".
        unit: What is counted, in words.
        is_unattended: No worker has taken any work for a while.
    """

    phase: str
    done: int = 0
    total: int = 0
    failed: int = 0
    rate: float | None = None
    left_s: float | None = None
    note: str = ""
    unit: str = "images"
    problem: str = ""
    is_unattended: bool = False


OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Show nothing."""


@dataclass
class Meter:
    """Turns counts into rates; images that were done before it started do not count."""

    total: int
    unit: str = "images"
    _phase: str = field(default="", init=False)
    # (seconds, images done) at the start of the phase and whenever images were done.
    _marks: deque[tuple[float, int]] = field(default_factory=deque, init=False)

    def measure(self, phase: str, done: int, failed: int) -> Progress:
        now = time.monotonic()
        if phase != self._phase:
            self._phase = phase
            self._marks.clear()
        if not self._marks or done != self._marks[-1][1]:
            self._add(now, done)
        rate = self._rate(now)
        left_s = (self.total - done) / rate if rate else None
        return Progress(phase, done, self.total, failed, rate, left_s, unit=self.unit)

    def _add(self, now: float, done: int) -> None:
        if len(self._marks) > 2 and now - self._marks[-2][0] < _TICK_S:
            self._marks.pop()
        self._marks.append((now, done))
        needed_s = max(_WINDOW_S, _WAITS * min(self._longest_wait(), _LONGEST_WAIT_S))
        while len(self._marks) > _FEWEST_CHANGES and now - self._marks[1][0] >= needed_s:
            self._marks.popleft()

    def _longest_wait(self) -> float:
        pairs = itertools.pairwise(self._marks)
        return max((later - earlier for (earlier, _), (later, _) in pairs), default=0.0)

    def _rate(self, now: float) -> float | None:
        (since, before), (until, done) = self._marks[0], self._marks[-1]
        if done <= before:
            return None
        rate = (done - before) / max(until - since, 1e-9)
        # No batch for longer than ever before: the work has become slower.
        expected_s = max(_WAITS * self._longest_wait(), _TICK_S)
        return rate * min(1.0, expected_s / max(now - until, 1e-9))


def counted(items: Iterable[_Item], report: Callable[[int], None]) -> Iterator[_Item]:
    """Yield the items, and report every 0.2 s how many there have been."""
    reported = time.monotonic()
    for number, item in enumerate(items, 1):
        now = time.monotonic()
        if now - reported >= _TICK_S:
            reported = now
            report(number)
        yield item
