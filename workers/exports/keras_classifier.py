"""Backbone and head in one Keras model, from which all exports are made."""

from pathlib import Path
from typing import Any

from workers.backbones.keras import build_keras_model
from workers.backbones.table import BackboneSpec
from workers.heads.head import Head

# A Keras model from RGB pixels (float32, 0 to 255, (n, height, width, 3)) to probabilities
# (n, labels).
Classifier = Any


def build_classifier(
    spec: BackboneSpec, weights: Path | None, weights_digest: str, head: Head
) -> Classifier:
    """Return a Keras model of Keras's own layers, so that nobody needs poets to load it.

    Args:
        weights, weights_digest: See `build_keras_model`.

    Raises:
        WeightsError: When the weights do not fit the architecture.
    """
    import keras

    backbone = build_keras_model(spec, weights, weights_digest)
    layer = keras.layers.Dense(len(head.bias), activation=head.activation, name="probabilities")
    classifier = keras.Model(backbone.inputs[0], layer(backbone.outputs[0]), name="classifier")
    layer.set_weights([head.weights, head.bias])
    classifier.trainable = False
    return classifier


def trace_classifier(classifier: Classifier) -> Any:
    """Return the model as a `tf.function` for any number n of images.

    It takes `pixels` (n, height, width, 3) and gives a dict with `probabilities` (n, labels).
    """
    import tensorflow as tf

    shape = (None, *classifier.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="pixels")]
    return tf.function(
        lambda pixels: {"probabilities": classifier(pixels, training=False)},
        input_signature=signature,
    )
