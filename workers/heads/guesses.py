"""What a head says of each example: its label, or which of the labels it has."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import SIGMOID, Examples, Head
from workers.heads.losses import HAS_LABEL
from workers.processes.heartbeat import Heartbeat
from workers.storage.label_sets import name_labels

# Digits of every score that poets writes; thresholds are compared with rounded scores.
DIGITS = 6
# Examples predicted at once, so that memory-mapped bottlenecks stream through.
_BLOCK = 65_536
# A probability of zero must not give an infinite loss.
_SMALLEST = 1e-30


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
        rank = np.count_nonzero(is_before | is_equal, axis=1)
        return cls(labels, predicted, score, own, score - second, rank)

    @classmethod
    def empty(cls, n: int) -> "Guesses":
        """Return zeros, to be filled in by `put`."""
        labels, predicted, rank = np.zeros((3, n), np.int64)
        score, label_score, margin = np.zeros((3, n))
        return cls(labels, predicted, score, label_score, margin, rank)

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


def guess_labels(head: Head, examples: Examples, heartbeat: Heartbeat) -> Guesses:
    """Return what a head says of each example, holding the probabilities of one block only."""
    guesses = Guesses.empty(len(examples))
    for rows, probabilities in _predict(head, examples, heartbeat):
        guesses.put(rows, Guesses.from_probabilities(probabilities, examples.labels[rows]))
    return guesses


def guess_sets(head: Head, examples: Examples, heartbeat: Heartbeat) -> SetGuesses:
    """Return what a head of sigmoids says of each example."""
    probabilities = np.empty(examples.labels.shape, np.float64)
    for rows, block in _predict(head, examples, heartbeat):
        probabilities[rows] = block
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


def best_labels(
    guesses: Guesses | SetGuesses,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the best label of each image: its index, its score, and whether the image has it."""
    if isinstance(guesses, SetGuesses):
        rows, best = np.arange(len(guesses)), guesses.probabilities.argmax(axis=1)
        return best, guesses.probabilities[rows, best], guesses.labels[rows, best]
    return guesses.predicted, guesses.score, guesses.is_right


def log_loss(head: Head, examples: Examples, heartbeat: Heartbeat) -> float:
    """Return the mean cross entropy in nats; for sigmoids, over the labels too."""
    total = 0.0
    for rows, probabilities in _predict(head, examples, heartbeat):
        labels = examples.labels[rows]
        if head.activation == SIGMOID:
            total += float(set_losses(probabilities, labels).sum())
        else:
            total += float(label_losses(probabilities[np.arange(len(labels)), labels]).sum())
    return total / len(examples)


def _predict(
    head: Head, examples: Examples, heartbeat: Heartbeat
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for start in range(0, len(examples), _BLOCK):
        heartbeat()
        rows = slice(start, start + _BLOCK)
        yield rows, head.predict(examples.bottlenecks[rows])


def label_losses(own_scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cross entropy of each example, in nats, from the score of its true label."""
    return -np.log(np.maximum(own_scores, _SMALLEST))


def set_losses(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean logistic loss over the labels of each example, in nats, shape (n,)."""
    return np.asarray(label_losses(np.where(labels, probabilities, 1 - probabilities)).mean(axis=1))


def name_answer(answer: NDArray[Any], labels: tuple[str, ...]) -> str:
    """Return the label with this index, or the text of a set of labels, bool, shape (labels,)."""
    if answer.ndim:
        return name_labels(np.flatnonzero(answer).tolist(), labels, is_multi_label=True)
    return labels[int(answer)]
