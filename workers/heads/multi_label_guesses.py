"""What a head of sigmoids says of each example: which of the labels the image has."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples, Head
from workers.heads.losses import HAS_LABEL
from workers.heads.metrics import LabelFigures, average_precision, figures_of_label
from workers.processes.heartbeat import Heartbeat

# Digits of every score that poets writes; thresholds are compared with rounded scores.
DIGITS = 6
_BLOCK = 65_536
_SMALLEST = 1e-30


@dataclass(frozen=True)
class SetGuesses:
    """Probabilities of all labels, and what follows from them.

    `score`, `label_score` and `margin` are those of sets of labels, where `Guesses` has those
    of labels: the probability of a set is the product over its decisions.

    Attributes:
        labels, predicted: bool, shape (n, labels): which labels an image has, and which are
            predicted at HAS_LABEL.
        probabilities: float64, shape (n, labels).
        score, label_score: float64, shape (n,), probability of the predicted set, the most
            probable one, and of the true set.
        margin: float64, shape (n,), the best set minus the second best.
    """

    labels: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    score: NDArray[np.float64]
    label_score: NDArray[np.float64]
    margin: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether every label of an image is right, shape (n,)."""
        return np.asarray((self.predicted == self.labels).all(axis=1))


def guess_sets(head: Head, examples: Examples, heartbeat: Heartbeat) -> SetGuesses:
    """Return what a head of sigmoids says of each example."""
    probabilities = np.empty(examples.labels.shape, np.float64)
    for start in range(0, len(examples), _BLOCK):
        heartbeat()
        stop = start + _BLOCK
        probabilities[start:stop] = head.predict(examples.bottlenecks[start:stop])
    predicted = probabilities.round(DIGITS) >= HAS_LABEL
    certainty = np.where(predicted, probabilities, 1 - probabilities)
    score = certainty.prod(axis=1)
    # The second best set differs in the least certain decision.
    doubt = np.maximum(certainty.min(axis=1, initial=1), HAS_LABEL)
    return SetGuesses(
        labels=examples.labels,
        predicted=predicted,
        probabilities=probabilities,
        score=score,
        label_score=np.where(examples.labels, probabilities, 1 - probabilities).prod(axis=1),
        margin=score - score * (1 - doubt) / doubt,
    )


def set_losses(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean logistic loss over the labels of each example, in nats, shape (n,)."""
    own = np.where(labels, probabilities, 1 - probabilities)
    losses: NDArray[np.float64] = -np.log(np.maximum(own, _SMALLEST)).mean(axis=1)
    return losses


def figures_of_sets(
    guesses: SetGuesses, thresholds: list[float | None] | None = None
) -> list[LabelFigures]:
    """Return the figures of each label, with average precision.

    Args:
        thresholds: For each label the score from which on an image has it, None where no
            score will do; HAS_LABEL for all labels by default.
    """
    if thresholds is None:
        thresholds = [HAS_LABEL] * guesses.labels.shape[1]
    rounded = guesses.probabilities.round(DIGITS)
    columns = zip(guesses.labels.T, rounded.T, guesses.probabilities.T, strict=True)
    return [
        figures_of_label(
            truth,
            scores >= (np.inf if threshold is None else threshold),
            average_precision(truth, probabilities),
        )
        for (truth, scores, probabilities), threshold in zip(columns, thresholds, strict=True)
    ]
