"""How good a head is on images that it was not fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.guesses import (
    Guesses,
    SetGuesses,
    guess_labels,
    guess_sets,
    label_losses,
    set_losses,
)
from workers.heads.head import SIGMOID, Examples, Head
from workers.heads.metrics import (
    CalibrationBin,
    LabelFigures,
    average_precision,
    bin_calibration,
    expected_calibration_error,
    figures_by_label,
    figures_of_label,
    mean_over_labels,
    wilson_interval,
)
from workers.processes.heartbeat import Heartbeat

_TOP = 5


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
    """Return the figures of `head` on one split."""
    if head.activation == SIGMOID:
        return _evaluate_sets(guess_sets(head, examples, heartbeat))
    return evaluate_guesses(guess_labels(head, examples, heartbeat), len(labels))


def evaluate_guesses(guesses: Guesses, n_labels: int) -> Evaluation:
    """Return the figures of guesses at one label an image."""
    confusion = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(confusion, (guesses.labels, guesses.predicted), 1)
    bins = bin_calibration(guesses.score, guesses.is_right)
    return Evaluation(
        images=len(guesses),
        accuracy=_mean(guesses.is_right),
        accuracy_interval=wilson_interval(int(guesses.is_right.sum()), len(guesses)),
        top5_accuracy=_mean(guesses.rank < _TOP),
        log_loss=_mean(label_losses(guesses.label_score)),
        calibration_error=expected_calibration_error(bins),
        by_label=figures_by_label(confusion),
        calibration_bins=bins,
        confusion=confusion,
        guesses=guesses,
    )


def _evaluate_sets(guesses: SetGuesses) -> Evaluation:
    by_label = _figures_of_sets(guesses)
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


def _figures_of_sets(guesses: SetGuesses) -> list[LabelFigures]:
    """Return the figures of each label, as `SetGuesses` predicts them."""
    figures = []
    for truth, scores, predicted in zip(
        guesses.labels.T, guesses.probabilities.T, guesses.predicted.T, strict=True
    ):
        hits, guessed, support = (int(p.sum()) for p in (truth & predicted, predicted, truth))
        precision = average_precision(truth, scores)
        figures.append(figures_of_label(hits, guessed, support, precision))
    return figures


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None
