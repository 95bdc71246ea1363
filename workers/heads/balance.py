"""What an example of each label counts while a head is fitted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def weigh_labels(labels: NDArray[Any], n_labels: int, class_weight: str) -> NDArray[np.float32]:
    """Return one weight a label: 1, or with "balanced" n / (n_labels * examples of the label).

    scikit-learn's definition: the weights of all examples add up to n, so the strength of
    L2 keeps its meaning. With several labels an image, shape (n, labels), each label is a
    question of its own: row 0 of the result, shape (2, labels), is for images without the
    label, row 1 for those with it.
    """
    if class_weight == "none":
        return np.ones(n_labels if labels.ndim == 1 else (2, n_labels), np.float32)
    if labels.ndim == 1:
        counts = np.bincount(labels, minlength=n_labels)
        return (len(labels) / (n_labels * np.maximum(counts, 1))).astype(np.float32)
    counts = labels.sum(axis=0)
    counts = np.stack([len(labels) - counts, counts])
    return (len(labels) / (2 * np.maximum(counts, 1))).astype(np.float32)
