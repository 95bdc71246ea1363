"""Run an exported model as the tool would run it that it is meant for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# RGB pixels (0 to 255, (n, height, width, 3)) to probabilities (n, labels).
Predict = Callable[[NDArray[Any]], NDArray[np.float64]]


def _load_graph(path: Path, final_tensor_name: str) -> Predict:
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    run = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    run = run.prune("input:0", f"{final_tensor_name}:0")

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        values = (pixels.astype(np.float32) - 127.5) / 127.5
        return np.concatenate([run(tf.constant(one[np.newaxis])) for one in values])

    return predict


def _load_saved_model(path: Path, _: str) -> Predict:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    return lambda pixels: np.asarray(
        model.signatures["pixels"](tf.constant(pixels, tf.float32))["probabilities"]
    )


def _load_keras(path: Path, _: str) -> Predict:
    import keras

    model = keras.saving.load_model(path)
    return lambda pixels: np.asarray(model.predict_on_batch(pixels.astype(np.float32)))


def _load_app(path: Path, final_tensor_name: str) -> Predict:
    lite = _load_tflite(path, "")
    graph = _load_graph(path.with_name("graph.pb"), final_tensor_name)

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = lite((pixels.astype(np.float32) - 127.5) / 127.5)
        # NaN, which is refused, where the two files do not agree.
        return np.where(np.abs(found - graph(pixels)) <= 1e-3, found, np.nan)

    return predict


def _load_tflite(path: Path, _: str) -> Predict:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale = 256 if target["dtype"] == np.uint8 else 1

    def run(pixels: NDArray[Any]) -> NDArray[np.float64]:
        interpreter.set_tensor(source["index"], pixels[np.newaxis].astype(source["dtype"]))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target["index"]) / scale, np.float64)

    return lambda pixels: np.concatenate([run(one) for one in pixels])


def _load_onnx(path: Path, _: str) -> Predict:
    import onnxruntime

    model = onnxruntime.InferenceSession(path)
    return lambda pixels: np.asarray(
        model.run(["probabilities"], {"pixels": pixels.astype(np.float32)})[0]
    )


# Format -> (path of its first file, name of the graph's output) -> Predict.
LOADERS: dict[str, Callable[[Path, str], Predict]] = {
    "graph": _load_graph,
    "saved-model": _load_saved_model,
    "keras": _load_keras,
    "tflite": _load_tflite,
    "tflite-float16": _load_tflite,
    "tflite-int8": _load_tflite,
    "codelab-app": _load_app,
    "onnx": _load_onnx,
}
