"""A classifier as a LiteRT (TFLite) file: in 32, in 16, and in 8 bits."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.keras import freeze
from workers.errors import ExportError
from workers.exports.float16_rounding import halve_kernels
from workers.exports.keras_classifier import Classifier, trace_classifier
from workers.exports.tflite_metadata import AS_THEY_ARE, Normalization, add_metadata
from workers.heads.model_folder import ModelCard

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"


def write_tflite(
    classifier: Classifier,
    numbers: str,
    photographs: NDArray[np.uint8],
    card: ModelCard,
    path: Path,
) -> None:
    """Write a LiteRT file whose metadata has the labels and describes the input.

    Args:
        numbers: FLOAT32; FLOAT16 (large kernels); or INT8: everything, with uint8 pixels as
            input and probabilities times 256 as output.
        photographs: Training images, RGB, (n, height, width, 3), on which FLOAT16 chooses how
            to round, and INT8 the range of each layer's numbers.

    Raises:
        ExportError: When the range of 8-bit pixels is not that of pixels.
    """
    import tensorflow as tf

    # Converting the Keras model takes ten times as long, and converting the traced function
    # silently gives a network without weights (tried with TensorFlow 2.21).
    frozen = freeze(trace_classifier(classifier))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if numbers == INT8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _samples(photographs)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    content = converter.convert()
    if numbers == INT8:
        _check_scales(content)
    if numbers == FLOAT16:
        content = halve_kernels(content, photographs)
    add_metadata(content, card, path, AS_THEY_ARE)


def write_app_graph(classifier: Classifier, card: ModelCard, path: Path) -> None:
    """Write the ``graph.lite`` of the codelab's phone apps.

    One image at a time, float32, shape (1, height, width, 3), as ``(pixels - 127.5) / 127.5``.
    The apps feed what they like to a model of this shape, so `model.tflite`, which takes 0 to 255,
    would be wrong there without a word.
    """
    import tensorflow as tf

    def classify(values: Any) -> Any:
        return classifier(values * 127.5 + 127.5, training=False)

    signature = [tf.TensorSpec((1, *classifier.input_shape[1:]), tf.float32, name="input")]
    frozen = freeze(tf.function(classify, input_signature=signature))
    content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    add_metadata(content, card, path, Normalization(127.5, 127.5))


def _samples(photographs: NDArray[np.uint8]) -> Any:
    for photograph in photographs:
        sample = photograph[np.newaxis].astype(np.float32)
        # With black and white in two corners the 256 steps are those of a pixel, so that an
        # image can be fed as it is.
        sample[0, 0, 0], sample[0, -1, -1] = 0, 255
        yield [sample]


def _check_scales(content: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = (*source["quantization"], *target["quantization"])
    if not np.allclose(found, (1, 0, 1 / 256, 0), rtol=1e-6):
        raise ExportError(f"the converter chose 8-bit scales that are not those of pixels: {found}")
