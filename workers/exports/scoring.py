"""Score photographs with a model of any format, each prepared as in training.

A program for `workers.processes.child`, so that the command line loads neither TensorFlow nor a
decoder: a question is a ScoreRequest; the labels, then each image, get an answer.
"""

import functools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.litert import LiteRTBackbone, quiet_stderr
from workers.errors import ImageError, ModelError, PoetsError
from workers.exports.formats import LABELS
from workers.exports.frozen_graph import open_graph, parse_labels, read_labels
from workers.exports.scored_model import Scored, ScoredModel, ScoreRequest
from workers.exports.tflite_metadata import LABELS_FILE, read_normalization
from workers.heads.head import SIGMOID
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import load_model
from workers.images.loading import OpenImage
from workers.processes.child import Tell, begin, serve

# How the codelab feeds a graph.
_MEAN, _STD = 128.0, 128.0
_SIDE = 224
# How far the scores of an image may be from adding up to 1: 8-bit ones are rounded.
_ROUNDING = 0.05


@dataclass(frozen=True)
class _Scorer:
    """A loaded model: from pixels (uint8, (height, width, 3)) to scores, one for each label."""

    labels: tuple[str, ...]
    input_size: tuple[int, int]
    score: Callable[[NDArray[np.uint8]], NDArray[Any]]


@functools.lru_cache(maxsize=1)
def _open(model: ScoredModel) -> _Scorer:
    path = Path(model.path)
    if path.is_dir():
        return _open_folder(path, model)
    try:
        with path.open("rb") as file:
            is_tflite = file.read(8)[4:] == b"TFL3"
    except OSError as error:
        raise ModelError(f"Cannot read the graph {path}: {error.strerror}.") from error
    return _open_tflite(path, model) if is_tflite else _open_graph(path, model)


def _open_folder(path: Path, given: ScoredModel) -> _Scorer:
    _refuse(given, path, *(name for name in vars(given) if name != "path"))
    model = load_model(path)
    if model.card.activation == SIGMOID:
        raise ModelError(
            f"The model {path} gives any number of labels, but a folder says one of each image."
        )
    backbone = LiteRTBackbone(check_backbone(path, model.card), chunk=1)

    def score(pixels: NDArray[np.uint8]) -> NDArray[Any]:
        return model.head.predict(backbone.compute(pixels[np.newaxis]))

    return _Scorer(model.card.labels, backbone.input_size, score)


def _refuse(given: ScoredModel, path: Path, *names: str) -> None:
    for name in names:
        if getattr(given, name) is not None:
            raise ModelError(f"{path} says by itself how it is fed; leave out --{name}.")


def _open_graph(path: Path, given: ScoredModel) -> _Scorer:
    labels = read_labels(Path(given.labels) if given.labels else _labels_beside(path))
    graph = open_graph(path, given.input_layer, given.output_layer)
    own = graph.input_size or (_SIDE, _SIDE)
    size = (given.input_height or own[0], given.input_width or own[1])
    mean, std = _normalization(given, (_MEAN, _STD))

    def score(pixels: NDArray[np.uint8]) -> NDArray[Any]:
        return graph.run((pixels[np.newaxis].astype(np.float32) - mean) / std)

    return _Scorer(tuple(labels), size, score)


def _normalization(given: ScoredModel, own: tuple[float, float]) -> NDArray[np.float32]:
    mean, std = given.input_mean, given.input_std
    chosen = (own[0] if mean is None else mean, own[1] if std is None else std)
    return np.array(chosen, np.float32)


def _labels_beside(path: Path) -> Path:
    places = [path.with_name(name) for name in (LABELS, LABELS_FILE)]
    places.insert(0, path.with_name(f"{path.stem}_labels.txt"))
    found = [place for place in places if place.is_file()]
    if not found:
        names = ", ".join(place.name for place in places)
        raise ModelError(
            f"No labels for {path}: none of {names} is beside it. Give the file with --labels."
        )
    # A graph named after the codelab's, then the codelab's names.
    return found[0]


def _open_tflite(path: Path, given: ScoredModel) -> _Scorer:
    from ai_edge_litert.interpreter import Interpreter

    _refuse(given, path, "input_layer", "output_layer")
    content = path.read_bytes()
    try:
        with quiet_stderr():
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
        (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
        _, height, width, _ = (int(side) for side in source["shape"])
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is no LiteRT file that takes images: {error}.") from error
    for name, own in (("input_height", height), ("input_width", width)):
        if getattr(given, name) not in (None, own):
            raise ModelError(
                f"{path} takes images of {width} x {height} pixels; leave out --{name}."
            )
    is_whole = not np.issubdtype(source["dtype"], np.floating)
    if is_whole:
        _refuse(given, path, "input_mean", "input_std")
    own_numbers = read_normalization(content) or (_MEAN, _STD)
    mean, std = (0, 1) if is_whole else _normalization(given, own_numbers)
    lowest = -np.iinfo(source["dtype"]).min if is_whole else 0

    def score(pixels: NDArray[np.uint8]) -> NDArray[Any]:
        values = (pixels[np.newaxis].astype(np.float32) - mean) / std - lowest
        interpreter.set_tensor(source["index"], values.astype(source["dtype"]))
        interpreter.invoke()
        found = np.asarray(interpreter.get_tensor(target["index"]), np.float64)
        scale, zero = target["quantization"]
        return (found - zero) * scale if scale else found

    return _Scorer(_tflite_labels(path, given), (height, width), score)


def _tflite_labels(path: Path, given: ScoredModel) -> tuple[str, ...]:
    if given.labels:
        return tuple(read_labels(Path(given.labels)))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if LABELS_FILE in archive.namelist():
                return tuple(parse_labels(archive.read(LABELS_FILE), path))
    return tuple(read_labels(_labels_beside(path)))


def _score(scorer: _Scorer, path: str) -> Scored:
    try:
        pixels = OpenImage(path, scorer.input_size).cut()
    except ImageError as error:
        return Scored(error=str(error))
    scores = np.asarray(scorer.score(pixels), np.float64).reshape(-1)
    if len(scores) != len(scorer.labels):
        raise ModelError(
            f"There are {len(scorer.labels)} labels, but the model gives {len(scores)} scores. "
            "Give the labels that belong to it with --labels."
        )
    # NaN is in no range.
    if not (scores.min() >= -_ROUNDING and abs(scores.sum() - 1) <= _ROUNDING):
        raise ModelError(
            f"The scores of an image add up to {scores.sum():.3g}, so they are no probabilities of "
            "one label. Name the layer behind the softmax with --output_layer."
        )
    return Scored(scores=tuple(scores.tolist()))


def _answer(request: ScoreRequest, tell: Tell) -> None:
    try:
        scorer = _open(request.model)
        tell(Scored(labels=scorer.labels))
        for path in request.images:
            tell(_score(scorer, path))
    except PoetsError as error:
        tell(Scored(refusal=str(error)))


if __name__ == "__main__":
    begin()
    serve(ScoreRequest, _answer)
