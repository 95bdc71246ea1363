"""How good a head is on images that it was not fitted on, and which it gets wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples, Head
from workers.heads.metrics import (
    CalibrationBin,
    LabelFigures,
    bin_calibration,
    expected_calibration_error,
    figures_by_label,
    wilson_interval,
)

# Examples predicted at once, so that memory-mapped bottlenecks stream through.
_BLOCK = 65_536
_TOP = 5


@dataclass(frozen=True)
class Guesses:
    """What a head says of each example, without all the probabilities; arrays of shape (n,).

    Attributes:
        labels, predicted: int64, number of the true label and of the best one.
        score, label_score: float64, probability of the best and of the true label.
        margin: float64, the best minus the second best probability.
        rank: int64, how many labels come before the true one; 0 when it is predicted.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    score: NDArray[np.float64]
    label_score: NDArray[np.float64]
    margin: NDArray[np.float64]
    rank: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        return np.equal(self.predicted, self.labels)


@dataclass(frozen=True)
class Mistake:
    """One image whose best label is not its own; `score` is the wrong label's."""

    path: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class Evaluation:
    """Figures for one split; those of an empty split are None.

    Attributes:
        accuracy_interval: 95 %, from low to high.
        top5_accuracy: Share of images whose true label is among the best five.
        log_loss: Mean, in nats.
        confusion: int64, shape (labels, labels); rows are true labels, columns predicted.
        guesses: One for each image, in the order of the examples.
        mistakes: Most confident first.
    """

    images: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    top5_accuracy: float | None
    log_loss: float | None
    calibration_error: float | None
    by_label: list[LabelFigures]
    calibration_bins: list[CalibrationBin]
    confusion: NDArray[np.int64]
    guesses: Guesses
    mistakes: list[Mistake]


def evaluate_head(
    head: Head, examples: Examples, labels: tuple[str, ...], beat: Callable[[], None]
) -> Evaluation:
    """Return the figures of `head` on one split.

    Args:
        beat: Called now and then, to show that the work goes on.
    """
    guesses = guess_labels(head, examples, beat)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (guesses.labels, guesses.predicted), 1)
    bins = bin_calibration(guesses.score, guesses.is_right)
    return Evaluation(
        images=len(guesses),
        accuracy=_mean(guesses.is_right),
        accuracy_interval=wilson_interval(int(guesses.is_right.sum()), len(guesses)),
        top5_accuracy=_mean(guesses.rank < _TOP),
        log_loss=_mean(_losses(guesses.label_score)),
        calibration_error=expected_calibration_error(bins),
        by_label=figures_by_label(confusion),
        calibration_bins=bins,
        confusion=confusion,
        guesses=guesses,
        mistakes=_list_mistakes(guesses, examples.paths, labels),
    )


def guess_labels(head: Head, examples: Examples, beat: Callable[[], None]) -> Guesses:
    """Return what a head says of each example; probabilities are held for one block alone."""
    parts = []
    for start in range(0, len(examples), _BLOCK):
        beat()
        stop = start + _BLOCK
        probabilities = head.predict(examples.bottlenecks[start:stop])
        parts.append(_summarise(probabilities, examples.labels[start:stop]))
    if not parts:
        parts = [_summarise(np.empty((0, len(head.bias))), examples.labels)]
    return Guesses(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def log_loss(head: Head, examples: Examples, beat: Callable[[], None]) -> float:
    """Return the mean cross entropy in nats."""
    total = 0.0
    for start in range(0, len(examples), _BLOCK):
        beat()
        labels = examples.labels[start : start + _BLOCK]
        probabilities = head.predict(examples.bottlenecks[start : start + _BLOCK])
        total += float(_losses(probabilities[np.arange(len(labels)), labels]).sum())
    return total / len(examples)


def _summarise(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.generic], ...]:
    rows = np.arange(len(labels))
    predicted = probabilities.argmax(axis=1)
    score, own = probabilities[rows, predicted], probabilities[rows, labels]
    # Equal probabilities keep the order of the labels, as everywhere.
    is_before = probabilities > own[:, np.newaxis]
    is_equal = probabilities == own[:, np.newaxis]
    is_equal &= np.arange(probabilities.shape[1]) < labels[:, np.newaxis]
    rank = np.count_nonzero(is_before | is_equal, axis=1)
    second = np.partition(probabilities, -2, axis=1)[:, -2]
    return labels, predicted, score, own, score - second, rank


def _losses(own_scores: NDArray[np.float64]) -> NDArray[np.float64]:
    # A probability of zero must not give infinity.
    return -np.log(np.maximum(own_scores, 1e-30))


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


def _list_mistakes(guesses: Guesses, paths: list[str], labels: tuple[str, ...]) -> list[Mistake]:
    mistakes = [
        Mistake(
            path=paths[i],
            label=labels[guesses.labels[i]],
            predicted=labels[guesses.predicted[i]],
            score=round(float(guesses.score[i]), 6),
        )
        for i in np.flatnonzero(~guesses.is_right)
    ]
    return sorted(mistakes, key=lambda mistake: -mistake.score)
