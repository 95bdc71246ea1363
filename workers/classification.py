"""Labels for images: a batch of a job, or a few files at once without any broker."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.backbones.litert import CHUNK, LiteRTBackbone
from workers.backbones.stored import has_backbone, read_description, write_backbone
from workers.backbones.table import find_spec
from workers.backbones.weights import digest_file
from workers.bottlenecks import ImageResult, Request
from workers.errors import ModelError
from workers.heads.head import Head
from workers.heads.model import ModelCard, read_card, read_head
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import Batch
from workers.storage.names import encode_name
from workers.storage.plan import LabellingOptions
from workers.storage.predictions import Prediction, rank_labels, write_predictions

# Stands for the weights of a backbone that was not converted here.
UNKNOWN_WEIGHTS = "unknown"


@dataclass(frozen=True)
class Model:
    """A head with the card that says what it is."""

    card: ModelCard
    head: Head


def load_model(folder: Path) -> Model:
    """Return the model of a folder, checked.

    Raises:
        ModelError: When it is missing or damaged.
    """
    card = read_card(folder)
    return Model(card, read_head(folder, card))


def check_backbone(folder: Path, card: ModelCard) -> Path:
    """Return the backbone file of a model after comparing its hash.

    Raises:
        ModelError: When it is missing or altered.
    """
    path = folder / "backbone.tflite"
    if not path.is_file():
        raise ModelError(f"The model {folder} has no backbone.tflite; copy the whole folder.")
    if digest_file(path) != card.backbone_sha256:
        raise ModelError(f"The backbone of model {folder} was altered; it is not used.")
    return path


def predict_results(
    model: Model, paths: list[str], results: list[ImageResult], top_k: int
) -> list[Prediction]:
    """Return one prediction for each path, in order; failed images keep their reason."""
    good = [i for i, result in enumerate(results) if result.bottleneck is not None]
    bottlenecks = np.zeros((len(good), model.card.bottleneck_size), np.float32)
    for row, i in enumerate(good):
        bottlenecks[row] = results[i].bottleneck
    predictions = [
        Prediction(path, error=result.error or "unknown")
        for path, result in zip(paths, results, strict=True)
    ]
    for i, probabilities in zip(good, model.head.predict(bottlenecks), strict=True):
        ranked = rank_labels(probabilities, model.card.labels, top_k)
        predictions[i] = Prediction(paths[i], ranked, is_unsure=model.card.is_unsure(*ranked[0]))
    return predictions


def write_batch_predictions(
    folder: RunFolder, options: LabellingOptions, batch: Batch, results: list[ImageResult]
) -> None:
    """Write the prediction shard of one batch of a job.

    Raises:
        ModelError, StorageError: As their names say.
    """
    model = load_model(folder.model)
    paths = [image.path for image in batch.images]
    rows = predict_results(model, paths, results, options.top_k)
    write_predictions(
        folder.prediction_shard(batch.number), rows, top_k=options.top_k, model=options.model
    )


def classify_files(folder: Path, paths: list[str], top_k: int) -> Iterator[Prediction]:
    """Yield one prediction for each path, in this process, without storage or broker.

    Raises:
        ModelError: When the model cannot be used.
    """
    # Decoders take 25 MB, which commands that only plan and merge can do without.
    from workers.chunks import compute_results

    model = load_model(folder)
    backbone = LiteRTBackbone(
        check_backbone(folder, model.card), chunk=max(1, min(len(paths), CHUNK))
    )
    for start in range(0, len(paths), backbone.chunk):
        part = paths[start : start + backbone.chunk]
        images = [Request(os.path.realpath(path)) for path in part]
        results = list(compute_results(images, backbone, lambda: None))
        yield from predict_results(model, [encode_name(path) for path in part], results, top_k)


def install_backbone(storage: Storage, folder: Path, card: ModelCard) -> tuple[str, str]:
    """Make sure that storage has the backbone of a model; return its identity and weights.

    A model may come from anywhere, so its card alone proves nothing: what is not the very
    file that poets converted here is kept under its own hash, and never serves a run that
    trains.

    Raises:
        ModelError: When the model's own copy is missing or altered.
    """
    if has_backbone(storage, card.backbone_id):
        known = read_description(storage, card.backbone_id)
        if known["sha256"] == card.backbone_sha256:
            return card.backbone_id, known["weights"]
    backbone_id = f"{find_spec(card.architecture).name}-{card.backbone_sha256}"
    if not has_backbone(storage, backbone_id):
        description = {
            "architecture": card.architecture,
            "weights": UNKNOWN_WEIGHTS,
            "input_size": card.preprocessing["input_size"],
            "preprocessing": card.preprocessing.get("mode"),
            "bottleneck_size": card.bottleneck_size,
            "sha256": card.backbone_sha256,
        }
        content = check_backbone(folder, card).read_bytes()
        write_backbone(storage, backbone_id, content, description)
    return backbone_id, UNKNOWN_WEIGHTS
