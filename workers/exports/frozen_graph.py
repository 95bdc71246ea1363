"""Frozen TensorFlow 1 graphs: what the codelab's retrain.py writes and label_image.py reads."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.keras import freeze
from workers.backbones.litert import quiet_stderr
from workers.errors import ImageError, ModelError, PoetsError
from workers.exports.keras_classifier import Classifier
from workers.storage.regular_files import CONTENT_BYTES, read_regular_file

# The node that the codelab feeds in Inception v3.
_INCEPTION_INPUT = "Mul"
_LAYER = "final_training_ops"


def write_frozen_graph(classifier: Classifier, path: Path, final_tensor_name: str) -> None:
    """Write a classifier as a GraphDef that any TensorFlow 1 program can run.

    Its placeholder `input` is float32, shape (1, height, width, 3), and holds
    ``(pixels - 127.5) / 127.5`` whatever the architecture, so the codelab's label_image.py
    runs it with its defaults. `Mul`, the input of the codelab's Inception v3, can be fed too.
    The last layer has the names that the codelab's other scripts look up, such as
    `final_training_ops/Wx_plus_b/add` for the logits, shape (1, labels).

    Args:
        final_tensor_name: Name of the node with the probabilities, shape (1, labels).
    """
    import keras
    import tensorflow as tf

    layer = classifier.layers[-1]
    backbone = keras.Model(classifier.inputs[0], layer.input)
    weights, biases = layer.get_weights()

    def classify(values: Any) -> Any:
        values = tf.identity(values, name=_INCEPTION_INPUT)
        found = backbone(values * 127.5 + 127.5, training=False)
        found = tf.identity(found, name="input/BottleneckInputPlaceholder")
        kernel = tf.constant(weights, name=f"{_LAYER}/weights/final_weights")
        bias = tf.constant(biases, name=f"{_LAYER}/biases/final_biases")
        product = tf.matmul(found, kernel, name=f"{_LAYER}/Wx_plus_b/MatMul")
        logits = tf.add(product, bias, name=f"{_LAYER}/Wx_plus_b/add")
        return tf.identity(layer.activation(logits), name=final_tensor_name)

    signature = [tf.TensorSpec((1, *classifier.input_shape[1:]), tf.float32, name="input")]
    graph = freeze(tf.function(classify, input_signature=signature)).graph.as_graph_def()
    graph = tf.compat.v1.graph_util.extract_sub_graph(graph, [final_tensor_name])
    path.write_bytes(_as_in_tensorflow_1(graph).SerializeToString(deterministic=True))


def _as_in_tensorflow_1(graph: Any) -> Any:
    # TensorFlow 1 refuses attributes and operations that were added later, needed or not.
    import tensorflow as tf
    from tensorflow.python.framework.meta_graph import strip_graph_default_valued_attrs

    wrapped = tf.compat.v1.MetaGraphDef(graph_def=graph)
    strip_graph_default_valued_attrs(wrapped)
    for node in wrapped.graph_def.node:
        if node.op == "AddV2":
            node.op = "Add"
    return wrapped.graph_def


@dataclass(frozen=True)
class GraphInput:
    """How a frozen graph is fed, by the names of the codelab's label_image.py."""

    input_height: int
    input_width: int
    input_mean: float
    input_std: float
    input_layer: str
    output_layer: str


def label_image(
    image: Path, graph_file: Path, labels_file: Path, given: GraphInput
) -> tuple[float, list[tuple[str, float]]]:
    """Return the seconds that the graph took, and all labels with their scores, best first.

    The image is read, resized and scaled as the codelab's label_image.py does it, so that
    the numbers are the same.

    Raises:
        ImageError: When the image cannot be read.
        ModelError: When graph and labels are missing, damaged, or do not fit.
    """
    labels = read_labels(labels_file)
    graph = open_graph(graph_file, given.input_layer, given.output_layer)
    pixels = _read_pixels(image, given)
    start = time.perf_counter()
    scores = graph.run(pixels)
    seconds = time.perf_counter() - start
    if len(scores) != len(labels):
        raise ModelError(
            f"{labels_file} has {len(labels)} labels, but {given.output_layer!r} of {graph_file} "
            f"gives {len(scores)} scores. Give the labels that belong to this graph."
        )
    order = scores.argsort()[::-1]
    return seconds, [(labels[i], float(scores[i])) for i in order]


def _tensorflow() -> Any:
    with quiet_stderr():
        import tensorflow as tf

        tf.zeros(1)  # TensorFlow prints its notices at the first operation
    return tf


def _read(path: Path, what: str, error_type: type[PoetsError] = ModelError) -> bytes:
    try:
        return read_regular_file(path, CONTENT_BYTES, may_be_link=True)
    except OSError as error:
        raise error_type(f"Cannot read the {what} {path}: {error.strerror}.") from error


def read_labels(path: Path) -> list[str]:
    """Return the labels in a file, one a line.

    Raises:
        ModelError: When it cannot be read, is not UTF-8, or is empty.
    """
    return parse_labels(_read(path, "labels"), path)


def parse_labels(content: bytes, path: Path) -> list[str]:
    """Return the labels in the content of a file; see `read_labels`."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"The labels {path} are not UTF-8 text with one label a line.") from error
    if not text.strip():
        raise ModelError(f"The labels {path} are empty. Give the labels that belong to the graph.")
    return [line.rstrip() for line in text.removesuffix("\n").split("\n")]


def _read_pixels(path: Path, given: GraphInput) -> NDArray[np.float32]:
    content = _read(path, "image", ImageError)
    tf = _tensorflow()
    decode = {
        ".png": tf.io.decode_png,
        ".bmp": tf.io.decode_bmp,
        ".gif": lambda found, channels: tf.io.decode_gif(found)[0],
    }.get(path.suffix, tf.io.decode_jpeg)
    try:
        with quiet_stderr():
            pixels = tf.cast(decode(content, channels=3), tf.float32)[tf.newaxis]
    except tf.errors.InvalidArgumentError as error:
        first = str(error.message).splitlines()[0]
        # Without the names of TensorFlow's parts around it.
        reason = re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]", "", first).rstrip(".")
        raise ImageError(
            f"The image {path} cannot be decoded: {reason}. TensorFlow reads JPEG, PNG, GIF and "
            "BMP; `poets classify` reads more."
        ) from error
    # As TensorFlow 1 resizes; TensorFlow 2 samples other pixels.
    resized = tf.raw_ops.ResizeBilinear(images=pixels, size=[given.input_height, given.input_width])
    scaled: NDArray[np.float32] = ((resized - given.input_mean) / given.input_std).numpy()
    return scaled


@dataclass(frozen=True)
class FrozenGraph:
    """A frozen graph in a session of TensorFlow 1."""

    path: Path
    source: Any
    target: Any
    session: Any

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width that the graph takes; None when it leaves them open."""
        if self.source.shape.rank != 4:
            return None
        _, height, width, _ = self.source.shape.as_list()
        return (height, width) if height and width else None

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores, shape (labels,), of one image, shape (1, height, width, 3).

        Raises:
            ModelError: When the graph takes another size.
        """
        if not self.source.shape.is_compatible_with(pixels.shape):
            raise ModelError(
                f"{self.source.op.name!r} of {self.path} takes {self.source.shape}, not "
                f"{pixels.shape}. Give --input_height and --input_width of this graph."
            )
        with quiet_stderr():
            scores = self.session.run(self.target, {self.source: pixels})
        return np.asarray(scores, np.float32).reshape(-1)


def open_graph(path: Path, input_layer: str | None, output_layer: str | None) -> FrozenGraph:
    """Load a frozen graph.

    Args:
        input_layer, output_layer: Names of nodes; None for `input` and `final_result`, or, where
            there is no such node, for the only node that the graph begins or ends with.

    Raises:
        ModelError: When it is no such graph, or has no such node.
    """
    content = _read(path, "graph")
    tf = _tensorflow()
    from google.protobuf.message import DecodeError

    if not content:
        raise ModelError(f"{path} is not a frozen TensorFlow graph: the file is empty.")
    graph = tf.Graph()
    try:
        definition = tf.compat.v1.GraphDef.FromString(content)
        with graph.as_default():
            tf.import_graph_def(definition, name="")
    except (DecodeError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ModelError(f"{path} is not a frozen TensorFlow graph: {reason}.") from error
    operations = graph.get_operations()
    inputs = [one.name for one in operations if one.type == "Placeholder"]
    outputs = [one.name for one in operations if one.outputs and not _is_used(one)]
    source = _choose(operations, input_layer, "input", inputs)
    target = _choose(operations, output_layer, "final_result", outputs)
    wanted = {"input_layer": input_layer or "input", "output_layer": output_layer or "final_result"}
    for found, (role, name) in zip((source, target), wanted.items(), strict=True):
        if found is None:
            begins, ends = (", ".join(names) or "nothing" for names in (inputs[:5], outputs[-5:]))
            raise ModelError(
                f"{path} has no layer {name!r}. It begins with {begins} and ends with {ends}; give "
                f"one of these as --{role}."
            )
    with quiet_stderr():
        return FrozenGraph(path, source, target, tf.compat.v1.Session(graph=graph))


def _choose(operations: list[Any], given: str | None, usual: str, ends: list[str]) -> Any:
    """Return the first output of the node that is wanted; None when there is none."""
    outputs = {one.name: one.outputs[0] for one in operations if one.outputs}
    if given is None and usual not in outputs and len(ends) == 1:
        return outputs[ends[0]]
    return outputs.get(given or usual)


def _is_used(operation: Any) -> bool:
    return any(tensor.consumers() for tensor in operation.outputs)
