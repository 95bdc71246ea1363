"""The images of a run that could not be read, and why: what `poets quarantine` lists."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.bottlenecks.batches import read_results
from workers.errors import ShardError
from workers.storage.layout import RunFolder
from workers.storage.manifest import find_labels, read_batches
from workers.storage.predictions import read_predictions
from workers.storage.run import Run


@dataclass(frozen=True)
class BadImage:
    """One image that could not be read.

    Attributes:
        path: Relative to the folder of the run, as `encode_name` writes it.
        label: As in the manifest; None in a labelling job.
    """

    path: str
    label: str | None
    reason: str


def find_bad_images(run: Run) -> Iterator[BadImage]:
    """Yield each bad image of a run once, in the order of the manifest.

    For a run without a result, these are the ones known so far.

    Raises:
        StorageError: When the storage refuses.
    """
    report = run.folder.model / "quarantine.csv"
    if run.plan.labelling:
        return _from_predictions(run)
    return _from_model(run.folder, report) if report.exists() else _from_shards(run)


def _from_predictions(run: Run) -> Iterator[BadImage]:
    for batch in range(run.plan.batches):
        try:
            table = read_predictions(run.folder.prediction_shard(batch), ["path", "error"])
        except ShardError:
            continue  # not there yet, or damaged, which counts as missing
        for path, error in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if error is not None:
                yield BadImage(path, None, error)


def _from_model(folder: RunFolder, report: Path) -> Iterator[BadImage]:
    with report.open(newline="", encoding="utf-8") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    labels = find_labels(folder, list(reasons)) if reasons else {}
    for path, reason in reasons.items():
        yield BadImage(path, labels.get(path), reason)


def _from_shards(run: Run) -> Iterator[BadImage]:
    last = ""
    for batch in read_batches(run.folder):
        for image, result in zip(batch.images, read_results(run, batch), strict=True):
            # An image and its variants are adjacent, and fail together.
            if result is not None and result.error is not None and image.path != last:
                last = image.path
                yield BadImage(image.path, image.label, result.error)
