"""Labels for images: a batch of a job, or a few files at once without any broker."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workers.backbones.litert import CHUNK, LiteRTBackbone
from workers.bottlenecks.requests import ImageResult, Request
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import Model, load_model
from workers.storage.manifest import Batch
from workers.storage.names import encode_name
from workers.storage.plan import Run
from workers.storage.predictions import Prediction, rank_labels, write_predictions


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
        predictions[i] = Prediction(
            paths[i],
            ranked,
            is_unsure=model.card.is_unsure(*ranked[0]),
            warning=results[i].warning,
        )
    return predictions


def write_batch_predictions(run: Run, batch: Batch, results: list[ImageResult]) -> None:
    """Write the prediction shard of one batch of a labelling job.

    Raises:
        ModelError: When the model of the job is damaged.
        StorageError: When the storage refuses.
    """
    options = run.plan.labelling
    if options is None:
        raise ValueError(f"{run.name} is no labelling job")
    model = load_model(run.folder.model)
    paths = [image.path for image in batch.images]
    rows = predict_results(model, paths, results, options.top_k)
    target = run.folder.prediction_shard(batch.number)
    write_predictions(target, rows, top_k=options.top_k, model=options.model)


def classify_files(folder: Path, paths: list[str], top_k: int) -> Iterator[Prediction]:
    """Yield one prediction for each path, in this process, without storage or broker.

    Raises:
        ModelError: When the model cannot be used.
    """
    # Decoders take 25 MB, which commands that only plan and merge can do without.
    from workers.bottlenecks.computing import compute_results

    model = load_model(folder)
    backbone = LiteRTBackbone(
        check_backbone(folder, model.card), chunk=max(1, min(len(paths), CHUNK))
    )
    for start in range(0, len(paths), backbone.chunk):
        part = paths[start : start + backbone.chunk]
        images = [Request(os.path.realpath(path)) for path in part]
        results = list(compute_results(images, backbone, lambda: None))
        yield from predict_results(model, [encode_name(path) for path in part], results, top_k)
