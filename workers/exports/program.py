"""Export a model to the formats of other tools, and check each file against poets itself.

A program for `workers.processes.child`, so that the command line never loads TensorFlow: the
question is a list of requests, and each format of each request gets an answer.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.litert import LiteRTBackbone
from workers.backbones.table import BackboneSpec, find_spec
from workers.errors import ExportError, ImageError, PoetsError
from workers.exports.formats import FORMATS, LABELS, ExportRequest
from workers.exports.frozen_graph import write_frozen_graph
from workers.exports.keras_classifier import Classifier, build_classifier, trace_classifier
from workers.exports.loaders import LOADERS
from workers.exports.saved_model import write_saved_model
from workers.exports.tflite import FLOAT16, FLOAT32, INT8, write_app_graph, write_tflite
from workers.heads.model_folder import Model, labels_text, load_model
from workers.images.loading import OpenImage
from workers.processes.child import Tell, begin, serve

# Images of noise that each format is checked with besides photographs.
_NOISE = 4
# Photographs that each format is checked with; 8 bits need many, so they get all.
_CHECKED = 32
# Least share of the photographs on which 8 bits must give the same label as poets. Good
# conversions had 95 to 100 %; a bad one guesses.
_INT8_AGREEMENT = 0.8


@dataclass(frozen=True)
class _Source:
    """The model and the images that the formats are made from and checked with."""

    request: ExportRequest
    model: Model
    spec: BackboneSpec
    classifier: Classifier
    photographs: NDArray[np.uint8]


def export_formats(request: ExportRequest) -> Iterator[dict[str, Any]]:
    """Write the formats one by one, and yield a report on each.

    Yields:
        `format`, and either `bytes`, `difference` (the largest of a probability from that of
        poets), `agreement` (share of the images with the same best label) and `images`; or
        `reason`, and then nothing of the format is left.

    Raises:
        PoetsError: When the model itself cannot be used.
    """
    source = _open(request)
    target = Path(request.target)
    for name in request.formats:
        try:
            _WRITERS[name](source, target / FORMATS[name].files[0])
            report = _check(source, name, target)
        except ExportError as error:
            report = {"reason": str(error)}
        # Converters raise anything; the other formats may still work.
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            report = {"reason": f"the converter failed: {type(error).__name__}: {lines[0][:200]}"}
        if "reason" in report:
            _remove(target, name)
        yield {"format": name, **report}


def _open(request: ExportRequest) -> _Source:
    model = load_model(Path(request.model))
    spec = find_spec(model.card.architecture)
    weights = Path(request.weights) if request.weights else None
    classifier = build_classifier(spec, weights, model.card.weights, model.head)
    return _Source(request, model, spec, classifier, _photographs(request, spec))


def _photographs(request: ExportRequest, spec: BackboneSpec) -> NDArray[np.uint8]:
    found = []
    for path, size, version in request.photographs:
        try:
            found.append(OpenImage(path, spec.input_size, (size, version)).cut())
        except ImageError:
            continue  # moved, changed, or unreadable
    return np.array(found, np.uint8).reshape(-1, *spec.input_size, 3)


def _write_graph(source: _Source, path: Path) -> None:
    write_frozen_graph(source.classifier, path, source.request.final_tensor_name)
    path.with_name(LABELS).write_text(labels_text(source.model.card.labels), "utf-8")


def _write_tflite(numbers: str, source: _Source, path: Path) -> None:
    wanted, found = len(source.request.photographs), len(source.photographs)
    if numbers == INT8 and not wanted:
        raise ExportError(
            f"it is calibrated on training images, and {source.request.no_photographs}"
        )
    if numbers == INT8 and found < wanted / 2:
        raise ExportError(
            f"it is calibrated on training images, and only {found} of {wanted} are still there "
            "unchanged; bring them back, or train again"
        )
    write_tflite(source.classifier, numbers, source.photographs, source.model.card, path)


def _write_app(source: _Source, path: Path) -> None:
    name = source.request.final_tensor_name
    write_app_graph(source.classifier, source.model.card, path)
    write_frozen_graph(source.classifier, path.with_name("graph.pb"), name)


def _write_onnx(source: _Source, path: Path) -> None:
    try:
        import onnxruntime  # noqa: F401 - for the check
        import tf2onnx
    except ImportError as error:
        raise ExportError(
            f"the package {error.name} is missing; `pip install tf2onnx onnxruntime` brings it"
        ) from error
    traced = trace_classifier(source.classifier)
    tf2onnx.convert.from_function(traced, traced.input_signature, opset=17, output_path=str(path))


# Each writes to the path of the first file of its format.
_WRITERS: dict[str, Callable[[_Source, Path], None]] = {
    "graph": _write_graph,
    "saved-model": lambda source, path: write_saved_model(
        source.classifier, source.model.card.labels, path
    ),
    "keras": lambda source, path: source.classifier.save(path),
    "tflite": partial(_write_tflite, FLOAT32),
    "tflite-float16": partial(_write_tflite, FLOAT16),
    "tflite-int8": partial(_write_tflite, INT8),
    "codelab-app": _write_app,
    "onnx": _write_onnx,
}


def _check(source: _Source, name: str, target: Path) -> dict[str, Any]:
    row = FORMATS[name]
    tolerance, pixels = row.tolerance, source.photographs
    if tolerance is not None:
        generator = np.random.default_rng(0)
        noise = generator.integers(0, 256, (_NOISE, *source.spec.input_size, 3), np.uint8)
        pixels = np.concatenate([source.photographs[:_CHECKED], noise])
    backbone = LiteRTBackbone(Path(source.request.model) / "backbone.tflite")
    ours = source.model.head.predict(backbone.compute(pixels))
    found = LOADERS[name](target / row.files[0], source.request.final_tensor_name)(pixels)
    agreement = float(np.mean(found.argmax(axis=1) == ours.argmax(axis=1)))
    if tolerance is None:
        if not agreement >= _INT8_AGREEMENT:
            raise ExportError(
                f"it gives another label than poets for {1 - agreement:.0%} of {len(pixels)} "
                "training images"
            )
    else:
        expected = ours
        if source.spec.is_quantized:
            # poets itself uses 8-bit weights; the formats have the network that they came from.
            expected = source.classifier.predict_on_batch(pixels.astype(np.float32))
        difference = np.abs(found - expected).max()
        # NaN differs from everything.
        if not difference <= tolerance:
            raise ExportError(
                f"its probabilities differ by {difference:.2g} from ours, and {tolerance:g} is "
                "the limit"
            )
    paths = [target / file for file in row.files]
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return {
        "bytes": sum(path.stat().st_size for path in files),
        "difference": round(float(np.abs(found - ours).max()), 7),
        "agreement": round(agreement, 4),
        "images": len(pixels),
    }


def _remove(target: Path, name: str) -> None:
    for file in FORMATS[name].files:
        path = target / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _answer(requests: list[ExportRequest], tell: Tell) -> None:
    try:
        for request in requests:
            for report in export_formats(request):
                tell(report)
    except PoetsError as error:
        # The last line of stderr says what failed.
        sys.exit(str(error))


if __name__ == "__main__":
    begin()
    serve(list[ExportRequest], _answer)
