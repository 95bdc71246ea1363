"""What the rounds of a comparison come to: medians, in the order of speed."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Outcome:
    """All runs of one rival.

    Attributes:
        is_ours: poets itself.
        is_floor: Forward passes alone, which nobody who reads photographs can beat.
        lines: What its runs have printed; see `tests.benchmarks.rivals.meter`.
        reason: Why it did not run, if it did not.
    """

    name: str
    is_ours: bool = False
    is_floor: bool = False
    lines: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None

    @property
    def rates(self) -> list[float]:
        """Images a second of each run."""
        return [line["images"] / line["wall_s"] for line in self.lines]

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU time, user and system, for an image."""
        return median(1000 * line["cpu_s"] / line["images"] for line in self.lines)

    @property
    def agreement(self) -> float | None:
        found = [line["agreement"] for line in self.lines if line["agreement"] is not None]
        return min(found) if found else None

    def median_of(self, key: str) -> float | None:
        """Return the median over the runs that know `key`."""
        found = [line[key] for line in self.lines if key in line]
        return median(found) if found else None


def by_rate(outcomes: list[Outcome]) -> list[Outcome]:
    """Return those that ran, the quickest first, and then those that did not."""
    ran = [outcome for outcome in outcomes if outcome.lines]
    return sorted(ran, key=lambda outcome: -outcome.rate) + [
        outcome for outcome in outcomes if not outcome.lines
    ]


def versions(outcomes: list[Outcome]) -> dict[str, str]:
    """Return the versions of all packages that did the work."""
    found: dict[str, str] = {}
    for outcome in outcomes:
        for line in outcome.lines:
            found |= line["versions"]
    return dict(sorted(found.items()))
