"""The head itself: softmax regression on bottlenecks."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)


@dataclass(frozen=True)
class Head:
    """``softmax(bottlenecks @ weights + bias)``.

    Attributes:
        weights: float32, shape (bottleneck_size, labels).
        bias: float32, shape (labels,).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, bottlenecks: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities, shape (n, labels), for bottlenecks (n, bottleneck_size).

        In float64: a product in float32 is summed in another order for another n, so an
        image's sixth digit would depend on its neighbours.
        """
        return softmax(bottlenecks.astype(np.float64) @ self.weights + self.bias)


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


def softmax(logits: NDArray[_Float]) -> NDArray[_Float]:
    """Return probabilities along the last axis, without overflow."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[_Float] = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities
