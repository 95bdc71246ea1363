"""The head itself: softmax regression on bottlenecks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Head:
    """``softmax(bottlenecks @ weights + bias)``.

    Attributes:
        weights: float32, shape (bottleneck_size, labels).
        bias: float32, shape (labels,).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, bottlenecks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities, shape (n, labels), for bottlenecks (n, bottleneck_size)."""
        return softmax(bottlenecks @ self.weights + self.bias)


@dataclass(frozen=True)
class Examples:
    """Bottlenecks with the number of their label.

    Attributes:
        bottlenecks: float32, shape (n, k); may be memory-mapped.
        labels: int64, shape (n,).
        paths: Where each came from, for the list of mistakes.
    """

    bottlenecks: NDArray[np.float32]
    labels: NDArray[np.int64]
    paths: list[str]

    def __len__(self) -> int:
        return len(self.labels)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities along the last axis, without overflow."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities
