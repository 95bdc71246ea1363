"""A promised precision: the score from which on enough labels are right, and its bound."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.heads.guesses import DIGITS

# How certain the bound of a promise is.
CONFIDENCE = 0.95
# Over 20 seeds each of flowers and trash, 1.1 to 1.3 differ little.
_MORE = 1.25


@dataclass(frozen=True)
class Promise:
    """What `--target-precision` came to.

    Attributes:
        target: Share of the sure labels that is to be right, 0 to 1.
        threshold: Score from which on a label is sure; None when nothing can be promised.
        bound: The share that is right at least, at 95 % confidence, from the threshold on;
            without a threshold, the highest that any score has. None without a photograph.
        judged: Photographs judged by a head that was fitted without them; copies count once.
        sure, right: Those with at least the score of `bound`, and how many of them are right.
        needed: Sure photographs without a mistake that the target takes at least; None for a
            target of 1, which no number of photographs can show.
    """

    target: float
    threshold: float | None
    bound: float | None
    judged: int
    sure: int
    right: int
    needed: int | None

    @property
    def coverage(self) -> float:
        """The share of the judged photographs that is sure."""
        return self.sure / self.judged if self.threshold is not None else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it with what follows from it, as reports and ``--json`` have it."""
        return {**asdict(self), "confidence": CONFIDENCE, "coverage": round(self.coverage, DIGITS)}


def find_promise(
    scores: NDArray[np.float64], is_right: NDArray[np.bool_], target: float
) -> Promise:
    """Return a score from which on the bound of the precision reaches `target`, as low as is safe.

    The bound is that of Clopper and Pearson 1934, "The use of confidence or fiducial limits",
    one-sided. It holds for one threshold, and the lowest of many that reach the target has
    been lucky. So only some sizes are looked at, from the most certain photographs on, and the
    first that fails ends it (fixed sequence: Angelopoulos et al. 2021, "Learn then Test",
    arXiv:2110.01052). docs/accuracy.md has what that changes.

    Args:
        scores: Of the best label of each photograph, from a head that was fitted without it.
        is_right: Whether that label is right; both have shape (n,).
        target: 0 to 1.
    """
    scores = np.round(scores, DIGITS)
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    right: NDArray[np.int64] = np.cumsum(is_right[order])
    needed = photographs_needed(target)
    if not len(scores):
        return Promise(target, None, None, 0, 0, 0, needed)
    # Photographs with one score are sure together.
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    rows = last[np.searchsorted(last, _sizes(needed or 1, len(scores)) - 1)]
    bounds = lower_bounds(right[rows], rows + 1)
    has_reached = bounds >= target
    first = int(has_reached.argmax())
    # All that reach it without a gap, or the best where none does.
    chosen = first + int(np.cumprod(has_reached[first:]).sum()) - 1
    row = int(rows[chosen if has_reached[first] else int(bounds.argmax())])
    return Promise(
        target=target,
        threshold=float(scores[row]) if has_reached[first] else None,
        bound=round(float(lower_bounds(right[[row]], np.array([row + 1]))[0]), DIGITS),
        judged=len(scores),
        sure=row + 1,
        right=int(right[row]),
        needed=needed,
    )


def _sizes(least: int, count: int) -> NDArray[np.int64]:
    """Return the numbers of photographs to look at, each a quarter more than the one before."""
    steps = math.floor(math.log(count / least) / math.log(_MORE)) + 1 if least <= count else 0
    sizes = np.ceil(least * _MORE ** np.arange(steps)).astype(np.int64)
    return np.append(sizes[sizes < count], count)


def photographs_needed(target: float) -> int | None:
    """Return how many photographs without a mistake show a precision; None for 1."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(target)) if target < 1 else None


def lower_bounds(right: NDArray[np.int64], sure: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lower ends of one-sided 95 % intervals of shares; of 0 right it is 0."""
    # A third of a second to import, which only the trainer should pay.
    from scipy.special import betaincinv

    found = betaincinv(np.maximum(right, 1), sure - right + 1, 1 - CONFIDENCE)
    return np.where(right > 0, found, 0.0)
