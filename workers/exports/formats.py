"""The table of export formats, and what the program that writes them is asked for: pure data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportFormat:
    """One format that a model can be exported to.

    Attributes:
        title: What it is, in words.
        files: Files and folders that it consists of.
        tolerance: Largest accepted difference of a probability from ours; None for 8-bit
            numbers, where the best labels are compared instead.
        package: What `loading` needs besides the packages of the images.
        loading: Python that turns `pixels` (float32, RGB 0 to 255, shape (1, height, width,
            3)) into `scores` (float32, one for each label); run in the exported folder.
    """

    title: str
    files: tuple[str, ...]
    tolerance: float | None
    package: str
    loading: str


@dataclass(frozen=True)
class ExportRequest:
    """What `workers.exports.program` is to write.

    Attributes:
        model: The model folder.
        target: An existing folder to write into.
        formats: Names of rows of FORMATS.
        weights: Weights file of the backbone, None for random ones.
        photographs: Path, size in bytes and modification time in ns of training images.
        no_photographs: Why there are none.
    """

    model: str
    target: str
    formats: tuple[str, ...]
    weights: str | None
    final_tensor_name: str
    photographs: tuple[tuple[str, int, int], ...] = ()
    no_photographs: str = ""


# Pixels on each side of the image that the codelab's phone apps feed.
APP_SIZE = (224, 224)
GRAPH, LABELS = "retrained_graph.pb", "retrained_labels.txt"

_TFLITE = """\
from ai_edge_litert.interpreter import Interpreter
model = Interpreter("{file}")
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], {pixels})
model.invoke()
scores = model.get_tensor(model.get_output_details()[0]["index"])[0]{scale}"""

FORMATS: dict[str, ExportFormat] = {
    "graph": ExportFormat(
        title="frozen TensorFlow 1 graph, as the codelab's",
        files=(GRAPH, LABELS),
        tolerance=1e-3,
        package="tensorflow",
        loading="""\
import tensorflow as tf
graph = tf.compat.v1.GraphDef.FromString(open("retrained_graph.pb", "rb").read())
tf.import_graph_def(graph, name="")
with tf.compat.v1.Session() as session:
    scores = session.run("{final_tensor_name}:0", {"input:0": (pixels - 127.5) / 127.5})[0]""",
    ),
    "saved-model": ExportFormat(
        title="SavedModel, from image files (`serving_default`) or from pixels (`pixels`)",
        files=("saved_model",),
        tolerance=1e-3,
        package="tensorflow",
        loading="""\
import tensorflow as tf
model = tf.saved_model.load("saved_model")
found = model.signatures["serving_default"](tf.constant([open(photograph, "rb").read()]))
print(found["label"][0, 0].numpy().decode(), float(found["score"][0, 0]))
scores = model.signatures["pixels"](tf.constant(pixels))["probabilities"].numpy()[0]""",
    ),
    "keras": ExportFormat(
        title="Keras model",
        files=("model.keras",),
        tolerance=1e-3,
        package="tensorflow",
        loading="""\
import keras
model = keras.saving.load_model("model.keras")
scores = model.predict(pixels, verbose=0)[0]""",
    ),
    "tflite": ExportFormat(
        title="LiteRT (TFLite), 32-bit numbers",
        files=("model.tflite",),
        tolerance=1e-3,
        package="ai-edge-litert",
        loading=_TFLITE.format(file="model.tflite", pixels="pixels", scale=""),
    ),
    "tflite-float16": ExportFormat(
        title="LiteRT (TFLite), weights in 16 bits: little more than half the size",
        files=("model_float16.tflite",),
        # At most 0.0008 over 980 photographs; 0.004 without training images to round by.
        tolerance=1e-2,
        package="ai-edge-litert",
        loading=_TFLITE.format(file="model_float16.tflite", pixels="pixels", scale=""),
    ),
    "tflite-int8": ExportFormat(
        title="LiteRT (TFLite), all in 8 bits: a quarter of the size",
        files=("model_int8.tflite",),
        tolerance=None,
        package="ai-edge-litert",
        loading=_TFLITE.format(
            file="model_int8.tflite", pixels='pixels.astype("uint8")', scale=" / 256"
        ),
    ),
    # The apps read labels.txt, which every export has.
    "codelab-app": ExportFormat(
        title="for the codelab's phone apps, beside `labels.txt`: pixels from -1 to 1",
        files=("graph.lite", "graph.pb"),
        tolerance=1e-3,
        package="ai-edge-litert",
        loading=_TFLITE.format(file="graph.lite", pixels="(pixels - 127.5) / 127.5", scale=""),
    ),
    "onnx": ExportFormat(
        title="ONNX, opset 17",
        files=("model.onnx",),
        tolerance=1e-3,
        package="onnxruntime",
        loading="""\
import onnxruntime
model = onnxruntime.InferenceSession("model.onnx")
scores = model.run(["probabilities"], {"pixels": pixels})[0][0]""",
    ),
}
