"""The loss of a head and its slope: cross entropy of one label, or logistic for each label.

The shape of the labels decides which: labels of shape (n,) hold one index for each image, for
softmax; labels of shape (n, labels) say of each label whether the image has it, for sigmoids.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# An image is said to have a label from this probability on.
HAS_LABEL = 0.5
_SMALLEST = 1e-30


class Loss(NamedTuple):
    """Sums over examples: the loss with and without label weights, and how many are right."""

    weighted: float
    plain: float
    hits: int


def sum_losses(
    logits: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    labels: NDArray[Any],
    label_weights: NDArray[np.float32],
) -> Loss:
    """Return the loss in nats; for sigmoids it is summed over the labels too.

    Args:
        logits, probabilities: Shape (n, labels).
        label_weights: As `weigh_labels` returns them.
    """
    if labels.ndim == 1:
        own = np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _SMALLEST))
        weighted = float((label_weights[labels] * own).sum(dtype=np.float64))
        plain = float(own.sum(dtype=np.float64))
        hits = int(np.count_nonzero(probabilities.argmax(axis=1) == labels))
        return Loss(-weighted, -plain, hits)
    each = logistic_losses(logits, labels)
    weighted = float((_spread(label_weights, labels) * each).sum(dtype=np.float64))
    is_right = ((probabilities >= HAS_LABEL) == labels).all(axis=1)
    return Loss(weighted, float(each.sum(dtype=np.float64)), int(np.count_nonzero(is_right)))


def turn_to_slope(
    probabilities: NDArray[np.float32],
    labels: NDArray[Any],
    label_weights: NDArray[np.float32],
) -> None:
    """Replace probabilities, shape (n, labels), by the gradient of the weighted loss in logits."""
    if labels.ndim == 1:
        probabilities[np.arange(len(labels)), labels] -= 1
        probabilities *= label_weights[labels][:, np.newaxis]
    else:
        probabilities -= labels
        probabilities *= _spread(label_weights, labels)


def logistic_losses(logits: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the loss of each label of each example, in nats, shape (n, labels)."""
    # From the logits, since 1 - p loses its digits where p is nearly 1.
    losses: NDArray[np.float32] = np.log1p(np.exp(-np.abs(logits)))
    losses += np.maximum(logits, 0) - logits * labels
    return losses


def _spread(label_weights: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    spread: NDArray[np.float32] = np.where(labels, label_weights[1], label_weights[0])
    return spread


def weigh_labels(labels: NDArray[Any], n_labels: int, class_weight: str) -> NDArray[np.float32]:
    """Return one weight a label: 1, or with "balanced" n / (n_labels * examples of the label).

    As scikit-learn defines it: the weights of all examples add up to n, so the strength of
    L2 keeps its meaning. With several labels an image, shape (n, labels), each label is
    weighed alone: row 0 of the result, shape (2, labels), is for images without the label,
    row 1 for those with it.
    """
    if class_weight == "none":
        return np.ones(n_labels if labels.ndim == 1 else (2, n_labels), np.float32)
    if labels.ndim == 1:
        counts = np.bincount(labels, minlength=n_labels)
        return (len(labels) / (n_labels * np.maximum(counts, 1))).astype(np.float32)
    counts = labels.sum(axis=0)
    counts = np.stack([len(labels) - counts, counts])
    return (len(labels) / (2 * np.maximum(counts, 1))).astype(np.float32)
