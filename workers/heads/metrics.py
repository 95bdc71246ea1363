"""Figures from counts and scores, without any head: intervals, precision, calibration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Guo et al. 2017 use 15 in all their tables.
CALIBRATION_BINS = 15
_Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class LabelFigures:
    """Figures of one label; None where the divisor would be 0.

    Attributes:
        precision: Share of the images predicted to have the label that have it.
        recall: Share of the images with the label that are predicted to have it.
        f1: 2 true positives / (2 true positives + both kinds of mistake).
        support: Images with the label.
        average_precision: Only for a multi-label head, see `average_precision`.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    average_precision: float | None = None


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose best score is at least `low` and less than `high` (or 1).

    Attributes:
        mean_score, accuracy: None when the bin is empty.
    """

    low: float
    high: float
    count: int
    mean_score: float | None
    accuracy: float | None


def wilson_interval(successes: int, trials: int) -> tuple[float, float] | None:
    """Return the 95 % score interval of a share; None without trials.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". Unlike
    the usual interval it stays within 0 and 1, and is no single point when all trials succeed.
    """
    if not trials:
        return None
    share, z2 = successes / trials, _Z_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = share * (1 - share) / trials + z2 / (4 * trials**2)
    half = _Z_95 * float(np.sqrt(spread)) / (1 + z2 / trials)
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def figures_by_label(confusion: NDArray[np.int64]) -> list[LabelFigures]:
    """Return precision, recall and F1 of each label; rows of `confusion` are true labels."""
    counts = np.stack([np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)], axis=1)
    return [figures_of_label(*row) for row in counts.tolist()]


def figures_of_label(
    hits: int, predicted: int, support: int, precision: float | None = None
) -> LabelFigures:
    """Return the figures of one label from numbers of images.

    Args:
        hits: Images with the label that were predicted to have it.
        precision: The average precision.
    """
    return LabelFigures(
        precision=_share(hits, predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, predicted + support),
        support=support,
        average_precision=precision,
    )


def average_precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    """Return the mean of the precisions at each threshold, weighted by the recall gained there.

    The area under the steps of the precision-recall curve, as scikit-learn's
    average_precision_score: chance gives the share of images that have the label, a perfect
    ranking 1. None when no image has it. Both arrays have shape (n,).
    """
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    # Images with one score are above or below a threshold together.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision = hits[last] / (last + 1)
    gained = np.diff(hits[last], prepend=0)
    return float((precision * gained).sum() / hits[-1])


def macro_averages(by_label: list[LabelFigures]) -> dict[str, float | None]:
    """Return the plain means over labels; a label whose figure is undefined is left out."""
    return {name: mean_over_labels(by_label, name) for name in ("precision", "recall", "f1")}


def mean_over_labels(by_label: list[LabelFigures], name: str) -> float | None:
    """Return the plain mean of one figure over the labels that have it; None without any."""
    known = [value for row in by_label if (value := getattr(row, name)) is not None]
    return float(np.mean(known)) if known else None


def bin_calibration(
    scores: NDArray[np.float64], is_right: NDArray[np.bool_]
) -> list[CalibrationBin]:
    """Return the reliability diagram of best scores, shape (n,), in equal bins from 0 to 1.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    indices = np.minimum((scores * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    counts = np.bincount(indices, minlength=CALIBRATION_BINS).tolist()
    sums = np.bincount(indices, scores, CALIBRATION_BINS).tolist()
    hits = np.bincount(indices, is_right, CALIBRATION_BINS).tolist()
    return [
        CalibrationBin(
            low=i / CALIBRATION_BINS,
            high=(i + 1) / CALIBRATION_BINS,
            count=counts[i],
            mean_score=_share(sums[i], counts[i]),
            accuracy=_share(hits[i], counts[i]),
        )
        for i in range(CALIBRATION_BINS)
    ]


def expected_calibration_error(bins: list[CalibrationBin]) -> float | None:
    """Return the mean distance of score and accuracy over the bins, weighted by their images.

    Guo et al. 2017. None without images. With few images it is above 0 by chance alone: about
    0.06 for 100 images.
    """
    total = sum(one.count for one in bins)
    if not total:
        return None
    gaps = (
        one.count * abs(one.accuracy - one.mean_score)
        for one in bins
        if one.accuracy is not None and one.mean_score is not None
    )
    return sum(gaps) / total


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
