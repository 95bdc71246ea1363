"""How good a head is on images that it was not fitted on, and which it gets wrong."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import SIGMOID, Examples, Head
from workers.heads.metrics import (
    CalibrationBin,
    LabelFigures,
    bin_calibration,
    expected_calibration_error,
    figures_by_label,
    mean_over_labels,
    wilson_interval,
)
from workers.heads.multi_label_guesses import SetGuesses, figures_of_sets, guess_sets, set_losses
from workers.processes.heartbeat import Heartbeat
from workers.storage.label_sets import name_labels

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
    """One image whose best label (or set of labels) is not its own; `score` is the wrong one's."""

    path: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class Evaluation:
    """Figures for one split; those of an empty split are None.

    Attributes:
        accuracy: Share of images whose label, or whole set of labels, is right.
        accuracy_interval: 95 %, from low to high.
        top5_accuracy: Share of images whose true label is among the best five; None for sets.
        log_loss: Mean, in nats; for sets over the labels too.
        calibration_bins: Of best scores; for sets of the scores of all labels.
        confusion: int64, shape (labels, labels); rows are true labels, columns predicted.
            None for sets.
        mean_average_precision: Over the labels; None but for sets.
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
    confusion: NDArray[np.int64] | None
    guesses: Guesses | SetGuesses
    mistakes: list[Mistake]
    mean_average_precision: float | None = None


def evaluate_head(
    head: Head, examples: Examples, labels: tuple[str, ...], heartbeat: Heartbeat
) -> Evaluation:
    """Return the figures of `head` on one split.

    Args:
        heartbeat: Called now and then, to show that the work goes on.
    """
    if head.activation == SIGMOID:
        return _evaluate_sets(guess_sets(head, examples, heartbeat), examples.paths, labels)
    guesses = guess_labels(head, examples, heartbeat)
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


def _evaluate_sets(guesses: SetGuesses, paths: list[str], labels: tuple[str, ...]) -> Evaluation:
    by_label = figures_of_sets(guesses)
    bins = bin_calibration(guesses.probabilities.ravel(), guesses.labels.ravel())
    return Evaluation(
        images=len(guesses),
        accuracy=_mean(guesses.is_right),
        accuracy_interval=wilson_interval(int(guesses.is_right.sum()), len(guesses)),
        top5_accuracy=None,
        log_loss=_mean(set_losses(guesses.probabilities, guesses.labels)),
        calibration_error=expected_calibration_error(bins),
        by_label=by_label,
        calibration_bins=bins,
        confusion=None,
        guesses=guesses,
        mistakes=_list_mistakes(guesses, paths, labels),
        mean_average_precision=mean_over_labels(by_label, "average_precision"),
    )


def apply_thresholds(
    evaluation: Evaluation, labels: tuple[str, ...], thresholds: dict[str, float | None]
) -> Evaluation:
    """Return the figures of a multi-label head with each label decided at its own threshold.

    With one label an image nothing changes: thresholds only say which images are sure.
    """
    if not isinstance(evaluation.guesses, SetGuesses):
        return evaluation
    chosen = [thresholds[label] for label in labels]
    return replace(evaluation, by_label=figures_of_sets(evaluation.guesses, chosen))


def guess_labels(head: Head, examples: Examples, heartbeat: Heartbeat) -> Guesses:
    """Return what a head says of each example; probabilities are held for one block alone."""
    parts = []
    for start in range(0, len(examples), _BLOCK):
        heartbeat()
        stop = start + _BLOCK
        probabilities = head.predict(examples.bottlenecks[start:stop])
        parts.append(_summarise(probabilities, examples.labels[start:stop]))
    if not parts:
        parts = [_summarise(np.empty((0, len(head.bias))), examples.labels)]
    return Guesses(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def log_loss(head: Head, examples: Examples, heartbeat: Heartbeat) -> float:
    """Return the mean cross entropy in nats, for sigmoids over the labels too."""
    total = 0.0
    for start in range(0, len(examples), _BLOCK):
        heartbeat()
        labels = examples.labels[start : start + _BLOCK]
        probabilities = head.predict(examples.bottlenecks[start : start + _BLOCK])
        if head.activation == SIGMOID:
            total += float(set_losses(probabilities, labels).sum())
            continue
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


def _list_mistakes(
    guesses: Guesses | SetGuesses, paths: list[str], labels: tuple[str, ...]
) -> list[Mistake]:
    mistakes = [
        Mistake(
            path=paths[i],
            label=name_answer(guesses.labels[i], labels),
            predicted=name_answer(guesses.predicted[i], labels),
            score=round(float(guesses.score[i]), 6),
        )
        for i in np.flatnonzero(~guesses.is_right)
    ]
    return sorted(mistakes, key=lambda mistake: -mistake.score)


def name_answer(answer: NDArray[Any], labels: tuple[str, ...]) -> str:
    """Return the label with this number, or the text of a set of labels, bool (labels,)."""
    if answer.ndim:
        return name_labels(np.flatnonzero(answer).tolist(), labels, is_multi_label=True)
    return labels[int(answer)]
