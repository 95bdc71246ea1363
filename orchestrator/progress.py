"""How far a run is: images done, rate, time to end, failures."""

import time
from collections import deque
from dataclasses import dataclass, field

_WINDOW_S = 20.0


@dataclass(frozen=True)
class Progress:
    """One moment of a run.

    Attributes:
        phase: What is going on, in words for a person.
        rate: Of `unit` a second, lately; None before anything can be said.
        left_s: Seconds to the end of this phase, at that rate.
        failed: Images, whatever the unit.
        unit: What is counted, in words.
    """

    phase: str
    done: int = 0
    total: int = 0
    failed: int = 0
    rate: float | None = None
    left_s: float | None = None
    note: str = ""
    unit: str = "images"


@dataclass
class Meter:
    """Turns counts into rates. Images that were done before it started do not count."""

    total: int
    unit: str = "images"
    _phase: str = ""
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def measure(self, phase: str, done: int, failed: int, note: str = "") -> Progress:
        now = time.monotonic()
        if phase != self._phase:
            self._phase = phase
            self._marks.clear()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW_S:
            self._marks.popleft()
        since, before = self._marks[0]
        rate = (done - before) / (now - since) if done > before else None
        left_s = (self.total - done) / rate if rate else None
        return Progress(phase, done, self.total, failed, rate, left_s, note, self.unit)
