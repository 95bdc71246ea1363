"""How good a head is on images that it was not fitted on."""

from dataclasses import dataclass, fields, replace
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
        labels, predicted: int64, index of the true label and of the best one.
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

    @classmethod
    def from_probabilities(
        cls, probabilities: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> "Guesses":
        """Return the guesses of examples from their probabilities, shape (n, labels)."""
        rows = np.arange(len(labels))
        predicted = probabilities.argmax(axis=1)
        score, own = probabilities[rows, predicted], probabilities[rows, labels]
        # Equal probabilities keep the order of the labels, as everywhere.
        is_before = probabilities > own[:, np.newaxis]
        is_equal = probabilities == own[:, np.newaxis]
        is_equal &= np.arange(probabilities.shape[1]) < labels[:, np.newaxis]
        second = np.partition(probabilities, -2, axis=1)[:, -2]
        return cls(
            labels=labels,
            predicted=predicted,
            score=score,
            label_score=own,
            margin=score - second,
            rank=np.count_nonzero(is_before | is_equal, axis=1),
        )

    @classmethod
    def empty(cls, n: int) -> "Guesses":
        """Return zeros, to be filled in by `put`."""
        return cls(
            labels=np.zeros(n, np.int64),
            predicted=np.zeros(n, np.int64),
            score=np.zeros(n),
            label_score=np.zeros(n),
            margin=np.zeros(n),
            rank=np.zeros(n, np.int64),
        )

    @classmethod
    def concatenate(cls, parts: list["Guesses"]) -> "Guesses":
        """Return the guesses of all parts, one part behind the other."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def put(self, rows: NDArray[np.int64] | slice, guesses: "Guesses") -> None:
        """Replace the guesses at `rows`, one for each row."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(guesses, field.name)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        return np.equal(self.predicted, self.labels)


@dataclass(frozen=True)
class Evaluation:
    """Figures for one split; those of an empty split are None.

    Attributes:
        accuracy: Share of images whose label, or whole set of labels, is right.
        accuracy_interval: 95 %, from low to high.
        top5_accuracy: Share of images whose true label is among the best five; None for sets.
        log_loss: Mean in nats; for sets, over the labels too.
        calibration_bins: Of the best scores; for sets, of the scores of all labels.
        confusion: int64, shape (labels, labels); rows are true labels, columns predicted.
            None for sets.
        mean_average_precision: Over the labels; only for sets.
        guesses: One for each image, in the order of the examples.
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
    mean_average_precision: float | None = None


def evaluate_head(
    head: Head, examples: Examples, labels: tuple[str, ...], heartbeat: Heartbeat
) -> Evaluation:
    """Return the figures of `head` on one split.

    Args:
        heartbeat: Called now and then, to show that work is going on.
    """
    if head.activation == SIGMOID:
        return _evaluate_sets(guess_sets(head, examples, heartbeat))
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
    )


def _evaluate_sets(guesses: SetGuesses) -> Evaluation:
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
        mean_average_precision=mean_over_labels(by_label, "average_precision"),
    )


def apply_thresholds(
    evaluation: Evaluation, labels: tuple[str, ...], thresholds: dict[str, float | None]
) -> Evaluation:
    """Return the figures of a multi-label head with each label decided at its own threshold.

    With one label an image nothing changes: its thresholds only say which images are sure.
    """
    if not isinstance(evaluation.guesses, SetGuesses):
        return evaluation
    chosen = [thresholds[label] for label in labels]
    return replace(evaluation, by_label=figures_of_sets(evaluation.guesses, chosen))


def guess_labels(head: Head, examples: Examples, heartbeat: Heartbeat) -> Guesses:
    """Return what a head says of each example, holding the probabilities of one block only."""
    guesses = Guesses.empty(len(examples))
    for start in range(0, len(examples), _BLOCK):
        heartbeat()
        rows = slice(start, start + _BLOCK)
        probabilities = head.predict(examples.bottlenecks[rows])
        guesses.put(rows, Guesses.from_probabilities(probabilities, examples.labels[rows]))
    return guesses


def log_loss(head: Head, examples: Examples, heartbeat: Heartbeat) -> float:
    """Return the mean cross entropy in nats; for sigmoids, over the labels too."""
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


def _losses(own_scores: NDArray[np.float64]) -> NDArray[np.float64]:
    # A probability of zero must not give infinity.
    return -np.log(np.maximum(own_scores, 1e-30))


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


def name_answer(answer: NDArray[Any], labels: tuple[str, ...]) -> str:
    """Return the label with this index, or the text of a set of labels, bool, shape (labels,)."""
    if answer.ndim:
        return name_labels(np.flatnonzero(answer).tolist(), labels, is_multi_label=True)
    return labels[int(answer)]
