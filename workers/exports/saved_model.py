"""A classifier as a SavedModel: from image files to labels, and from pixels to probabilities."""

from pathlib import Path
from typing import Any

from workers.exports.graph_decoding import decode_images
from workers.exports.keras_classifier import Classifier, trace_classifier


def write_saved_model(classifier: Classifier, labels: tuple[str, ...], path: Path) -> None:
    """Write a SavedModel with two signatures.

    `serving_default` takes `image_bytes`, whole image files (strings, shape (n,)), and gives
    `label` (strings) and `score` (float32), both (n, labels), best first. `pixels` takes
    `pixels` (float32, RGB 0 to 255, (n, height, width, 3)) and gives `probabilities`
    (n, labels) in the order of the labels.
    """
    import tensorflow as tf

    height, width = classifier.input_shape[1:3]

    def label_files(image_bytes: Any) -> dict[str, Any]:
        probabilities = classifier(decode_images(image_bytes, (height, width)), training=False)
        order = tf.argsort(probabilities, direction="DESCENDING")
        return {
            "label": tf.gather(tf.constant(labels), order),
            "score": tf.gather(probabilities, order, batch_dims=1),
        }

    files = tf.TensorSpec((None,), tf.string, name="image_bytes")
    module = tf.Module()
    # The Keras model itself would add a function for each layer, which nobody calls, and 5 s.
    module.weights = [variable.value for variable in classifier.variables]
    signatures = {
        "serving_default": tf.function(label_files, input_signature=[files]),
        "pixels": trace_classifier(classifier),
    }
    tf.saved_model.save(module, str(path), signatures=signatures)
