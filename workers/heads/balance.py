"""What an example of each label counts while a head is fitted."""

import numpy as np
from numpy.typing import NDArray


def weigh_labels(
    labels: NDArray[np.int64], n_labels: int, class_weight: str
) -> NDArray[np.float32]:
    """Return one weight a label: 1, or with "balanced" n / (n_labels * examples of the label).

    scikit-learn's definition: the weights of all examples add up to n, so the strength of
    L2 keeps its meaning.
    """
    if class_weight == "none":
        return np.ones(n_labels, np.float32)
    counts = np.bincount(labels, minlength=n_labels)
    return (len(labels) / (n_labels * np.maximum(counts, 1))).astype(np.float32)
