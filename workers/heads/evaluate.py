"""How good a head is on images that it was not fitted on, and which it gets wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples, Head

# Examples predicted at once, so that memory-mapped bottlenecks stream through.
_BLOCK = 65_536


@dataclass(frozen=True)
class Mistake:
    """One image whose best label is not its own; `score` is the wrong label's."""

    path: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class Evaluation:
    """Figures for one split.

    Attributes:
        accuracy, log_loss: None when the split is empty.
        confusion: int64, shape (labels, labels); rows are true labels, columns predicted.
        mistakes: Most confident first.
    """

    images: int
    accuracy: float | None
    log_loss: float | None
    confusion: NDArray[np.int64]
    mistakes: list[Mistake]


def evaluate_head(
    head: Head, examples: Examples, labels: tuple[str, ...], beat: Callable[[], None]
) -> Evaluation:
    """Return the figures of `head` on one split.

    Args:
        beat: Called now and then, to show that the work goes on.
    """
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    if not len(examples):
        return Evaluation(0, None, None, confusion, [])
    probabilities = _predict(head, examples, beat)
    predicted = probabilities.argmax(axis=1)
    np.add.at(confusion, (examples.labels, predicted), 1)
    mistakes = [
        Mistake(
            path=examples.paths[i],
            label=labels[examples.labels[i]],
            predicted=labels[predicted[i]],
            score=round(float(probabilities[i, predicted[i]]), 6),
        )
        for i in np.flatnonzero(predicted != examples.labels)
    ]
    mistakes.sort(key=lambda mistake: -mistake.score)
    accuracy = float(np.mean(predicted == examples.labels))
    loss = _mean_log_loss(probabilities, examples.labels)
    return Evaluation(len(examples), accuracy, loss, confusion, mistakes)


def log_loss(head: Head, examples: Examples, beat: Callable[[], None]) -> float:
    """Return the mean cross entropy in nats."""
    return _mean_log_loss(_predict(head, examples, beat), examples.labels)


def _predict(head: Head, examples: Examples, beat: Callable[[], None]) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(examples), _BLOCK):
        beat()
        parts.append(head.predict(examples.bottlenecks[start : start + _BLOCK]))
    return np.concatenate(parts)


def _mean_log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-30)).mean(dtype=np.float64))
