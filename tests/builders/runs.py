"""Runs: planned, computed with made-up or real bottlenecks, and trained."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.dataset.dataset import Source, open_dataset
from orchestrator.driving.result import TrainingResult
from orchestrator.planning.plan import plan_training
from tests.builders.backbones import ARCHITECTURE, BACKBONE, BACKBONE_ID, WEIGHTS
from workers.backbones.litert import LiteRTBackbone
from workers.backbones.table import BackboneKey
from workers.bottlenecks.batches import complete_batch
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import ImageResult, Request
from workers.processes.heartbeat import Heartbeat, no_heartbeat
from workers.storage.layout import Storage
from workers.storage.manifest import PlannedImage, read_batch, read_batches
from workers.storage.plan import Plan, Run, TrainingOptions
from workers.training import train_run

# What `fail_some` cannot decode.
BAD = ("blue/002.jpg", "red/001.jpg")


def make_plan(**fields: Any) -> Plan:
    """Return a plan over nothing, with the tiny backbone, but for the fields given."""
    defaults = {
        "name": "run",
        "root": "/photos",
        "created": "2026-01-01",
        "architecture": ARCHITECTURE,
        "backbone_id": BACKBONE_ID,
        "weights_digest": WEIGHTS,
        "images": 0,
        "batches": 0,
        "cached": 0,
        "batch_size": 8,
    }
    return Plan(**{**defaults, **fields})


def make_result(**fields: Any) -> TrainingResult:
    """Return the result of a run over nothing, but for the fields given."""
    counts = "images computed cached quarantined lost training validation testing left_out"
    counts += " variants variants_computed suspects duplicates"
    figures = "validation_accuracy test_accuracy test_accuracy_interval mean_average_precision"
    defaults = {
        **dict.fromkeys(counts.split(), 0),
        **dict.fromkeys(figures.split()),
        **{"run": "spring", "labels": ("blue", "red"), "report": "/r.html", "model": "/model"},
    }
    return TrainingResult(**{**defaults, **fields})


def make_run(
    storage: Storage,
    folder: Path,
    name: str = "run",
    batch_size: int = 8,
    options: TrainingOptions | None = None,
    label_file: Path | None = None,
    backbone: BackboneKey = BACKBONE,
    splits: str = "auto",
    follows_links: bool = False,
) -> Run:
    """Plan a training run with the tiny backbone."""
    options = options or TrainingOptions()
    dataset = open_dataset(storage, Source(folder, label_file, splits, follows_links), options)
    dataset.check_usable()
    return plan_training(storage, dataset, backbone, options, name=name, batch_size=batch_size)


def images_of(run: Run, split: str | None = None) -> list[PlannedImage]:
    """Return the rows of a run's manifest, or those of one split."""
    rows = [row for batch in read_batches(run.folder) for row in batch.images]
    return [row for row in rows if split in (None, row.split)]


def pretend(images: Iterable[Request]) -> Iterator[ImageResult]:
    """Give each image numbers made of its content, without decoding it."""
    for path, *_ in images:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        yield ImageResult(np.frombuffer(digest * 8, np.uint8).astype(np.float32), digest)


def fail_some(images: list[Request]) -> Iterator[ImageResult]:
    """Pretend, but the images in BAD cannot be decoded."""
    for image, result in zip(images, pretend(images), strict=True):
        is_bad = image.path.endswith(BAD)
        yield ImageResult(None, result.digest, "cannot be decoded: half") if is_bad else result


def pretend_run(run: Run) -> None:
    """Complete every batch with `pretend`."""
    for batch in read_batches(run.folder):
        complete_batch(run, batch, pretend)


def pretend_with_failures(run: Run, *numbers: int) -> None:
    """Complete some batches with `fail_some`."""
    for number in numbers:
        complete_batch(run, read_batch(run.folder, number), fail_some)


def compute_run(run: Run) -> None:
    """Complete every batch with the bottlenecks of the backbone, which is in the storage."""
    backbone = LiteRTBackbone(run.storage.backbone(BACKBONE_ID) / "backbone.tflite")

    def compute(images: list[Request]) -> Iterable[ImageResult]:
        return compute_results(images, backbone, no_heartbeat)

    for batch in read_batches(run.folder):
        complete_batch(run, batch, compute)


def train(run: Run, may_commit: Heartbeat = no_heartbeat) -> None:
    """Train the head of a run whose batches are complete."""
    train_run(run, no_heartbeat, may_commit)


def trained(storage: Storage, folder: Path, **options) -> Run:
    """Plan a run (see `make_run`), compute its bottlenecks, and train its head."""
    run = make_run(storage, folder, **options)
    compute_run(run)
    train(run)
    return run
