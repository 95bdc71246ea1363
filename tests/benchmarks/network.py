"""MobileNet v1 as plain arrays, batch normalisation folded into the convolutions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """A convolution, followed by ReLU6.

    Attributes:
        kernel: float32, (height, width, in, out); depthwise (height, width, channels, 1).
        stride: With 2, one row and column of zeros is added below and on the right.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    is_depthwise: bool


def fold_network(model: Any) -> list[Layer]:
    """Return the layers of `workers.backbones.keras.build_keras_model`, folded."""
    network = next(layer for layer in model.layers if hasattr(layer, "layers"))
    folded = []
    for layer in network.layers:
        kind = type(layer).__name__
        if kind not in ("Conv2D", "DepthwiseConv2D"):
            continue
        norm = network.get_layer(f"{layer.name}_bn")
        gamma, beta, mean, variance = (np.asarray(part) for part in norm.get_weights())
        scale = gamma / np.sqrt(variance + norm.epsilon)
        kernel = np.asarray(layer.get_weights()[0])
        is_depthwise = kind == "DepthwiseConv2D"
        kernel = kernel * (scale[:, None] if is_depthwise else scale)
        folded.append(Layer(kernel, beta - mean * scale, layer.strides[0], is_depthwise))
    return folded


def save_layers(path: Path, layers: list[Layer]) -> None:
    arrays = {}
    for number, layer in enumerate(layers):
        arrays[f"kernel_{number}"], arrays[f"bias_{number}"] = layer.kernel, layer.bias
    facts = [(layer.stride, layer.is_depthwise) for layer in layers]
    np.savez(path, facts=np.array(facts), **arrays)


def load_layers(path: Path) -> list[Layer]:
    with np.load(path) as file:
        return [
            Layer(file[f"kernel_{i}"], file[f"bias_{i}"], int(stride), bool(is_depthwise))
            for i, (stride, is_depthwise) in enumerate(file["facts"])
        ]


def compute_in_tensorflow(layers: list[Layer], pixels: Any) -> Any:
    """Return bottlenecks (n, k) for pixels (n, height, width, 3), 0 to 255, of any type."""
    import tensorflow as tf

    values = tf.cast(pixels, tf.float32) / 127.5 - 1
    for layer in layers:
        strides = [1, layer.stride, layer.stride, 1]
        convolve = tf.nn.depthwise_conv2d if layer.is_depthwise else tf.nn.conv2d
        values = convolve(values, layer.kernel, strides, "SAME")
        values = tf.nn.relu6(tf.nn.bias_add(values, layer.bias))
    return tf.reduce_mean(values, [1, 2])
