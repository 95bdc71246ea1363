"""Kernels in 16 bits: rounded so that the errors cancel, and the rest left alone."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from workers.backbones.keras import freeze
from workers.exports.float16_rounding import halve_kernels, round_to_halves
from workers.exports.keras_classifier import trace_classifier

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def inputs():
    """Channels that go together, as those of a network do."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(500, 8)) @ generator.normal(size=(8, 64))
    return np.maximum(values + generator.normal(size=(500, 64)) / 10, 0).astype(np.float32)


def test_errors_of_rounding_cancel_on_inputs_like_those_measured(inputs):
    kernel = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    measured, others = inputs[:250], inputs[250:]

    halves = round_to_halves(kernel, (measured.T @ measured).astype(np.float64) / len(measured))

    def error(rounded):
        return np.sqrt(np.mean((others @ (rounded.astype(np.float32) - kernel).T) ** 2))

    assert halves.dtype == np.float16
    assert error(halves) < error(kernel.astype(np.float16)) / 2
    assert np.abs(halves - kernel).max() < 0.01


@pytest.mark.parametrize("moments", [np.eye(64), np.zeros((64, 64))])
def test_inputs_that_say_nothing_leave_the_nearest_halves(moments):
    kernel = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)

    assert np.array_equal(round_to_halves(kernel, moments), kernel.astype(np.float16))


@pytest.fixture(scope="module")
def network():
    """A LiteRT file with a kernel of each kind."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((16, 16, 3)),
        layers.Rescaling(1 / 127.5, -1),
        layers.Conv2D(8, 3, activation="relu", bias_initializer="normal"),
        layers.DepthwiseConv2D(3, depth_multiplier=4, bias_initializer="normal"),
        layers.Conv2D(64, 3, activation="relu", bias_initializer="normal"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(64, bias_initializer="normal"),
    ])  # fmt: skip
    frozen = freeze(trace_classifier(model))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    return converter.convert()


def run(content, image):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def test_only_large_kernels_are_halved(network):
    images = np.random.default_rng(2).integers(0, 256, (4, 16, 16, 3), np.uint8)

    halved = halve_kernels(network, images)

    details = Interpreter(model_content=halved).get_tensor_details()
    assert sorted(tuple(t["shape"]) for t in details if t["dtype"] == np.float16) == [
        (64, 3, 3, 32),
        (64, 64),
    ]
    assert len(halved) < 0.6 * len(network)
    expected, found = (run(content, images[0].astype(np.float32)) for content in (network, halved))
    assert 0 < np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
