"""The head itself: softmax regression on bottlenecks, or a sigmoid for each label."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Activation = Literal["softmax", "sigmoid"]
SOFTMAX: Final = "softmax"
SIGMOID: Final = "sigmoid"
_Float = TypeVar("_Float", np.float32, np.float64)


@dataclass(frozen=True)
class Head:
    """``activation(bottlenecks @ weights + bias)``.

    Attributes:
        weights: float32, shape (bottleneck_size, labels).
        bias: float32, shape (labels,).
        activation: "softmax", one label an image, or "sigmoid", any number of them.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: Activation = SOFTMAX

    def predict(self, bottlenecks: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities, shape (n, labels), for bottlenecks (n, bottleneck_size).

        In float64: in float32 the order of summation depends on n, so an image's sixth digit
        would depend on how many others are predicted with it.
        """
        return self.activate(bottlenecks.astype(np.float64) @ self.weights + self.bias)

    def activate(self, logits: NDArray[_Float]) -> NDArray[_Float]:
        """Return the probabilities of logits, both of shape (n, labels)."""
        probabilities: NDArray[_Float] = ACTIVATIONS[self.activation](logits)
        return probabilities


@dataclass(frozen=True)
class Examples:
    """Bottlenecks with the index of their label, or with the set of their labels.

    Attributes:
        bottlenecks: float32, shape (n, k); may be memory-mapped.
        labels: int64, shape (n,); in a multi-label data set bool, shape (n, labels).
        paths: Where each came from.
    """

    bottlenecks: NDArray[np.float32]
    labels: NDArray[Any]
    paths: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def activation(self) -> Activation:
        """The activation of a head that learns from such labels."""
        return SIGMOID if self.labels.ndim == 2 else SOFTMAX


def softmax(logits: NDArray[_Float]) -> NDArray[_Float]:
    """Return probabilities along the last axis, without overflow."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[_Float] = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[_Float]) -> NDArray[_Float]:
    """Return a probability for each logit, without overflow."""
    small = np.exp(-np.abs(logits))
    probabilities: NDArray[_Float] = np.where(logits >= 0, 1, small) / (1 + small)
    return probabilities


ACTIVATIONS: dict[Activation, Callable[[NDArray[Any]], NDArray[Any]]] = {
    SOFTMAX: softmax,
    SIGMOID: sigmoid,
}
