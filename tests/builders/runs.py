"""Runs: planned, computed with made-up or real bottlenecks, and trained."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestrator.dataset.label_file import apply_label_file, read_label_file
from orchestrator.dataset.scan import scan_folder
from orchestrator.planning.plan import plan_training
from tests.builders.backbones import BACKBONE, BACKBONE_ID
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks.batches import ImageResult, Request, complete_batch
from workers.bottlenecks.computing import compute_results
from workers.processes.heartbeat import Heartbeat, no_heartbeat
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import PlannedImage, read_batch, read_batches
from workers.storage.plan import TrainingOptions, read_plan
from workers.training import train_run

# What `fail_some` cannot decode.
BAD = ("blue/002.jpg", "red/001.jpg")


def make_run(
    storage: Storage,
    folder: Path,
    name: str = "run",
    batch_size: int = 8,
    options: TrainingOptions | None = None,
    label_file: Path | None = None,
) -> RunFolder:
    """Plan a training run with the tiny backbone."""
    scan = scan_folder(folder)
    if label_file:
        apply_label_file(scan, read_label_file(label_file))
        options = replace(options or TrainingOptions(), multi_label=True)
    return plan_training(
        storage,
        scan,
        lambda: BACKBONE,
        options or TrainingOptions(),
        name=name,
        batch_size=batch_size,
    )


def images_of(run: RunFolder, split: str | None = None) -> list[PlannedImage]:
    """Return the rows of a run's manifest, or those of one split."""
    rows = [row for batch in read_batches(run) for row in batch.images]
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


def pretend_run(storage: Storage, run: RunFolder) -> None:
    """Complete every batch with `pretend`."""
    for batch in read_batches(run):
        complete_batch(storage, run, read_plan(run), batch, pretend)


def pretend_with_failures(storage: Storage, run: RunFolder, *numbers: int) -> None:
    """Complete some batches with `fail_some`."""
    for number in numbers:
        complete_batch(storage, run, read_plan(run), read_batch(run, number), fail_some)


def compute_run(storage: Storage, run: RunFolder) -> None:
    """Complete every batch with the bottlenecks of the backbone, which is in the storage."""
    backbone = LiteRTBackbone(storage.backbone(BACKBONE_ID) / "backbone.tflite")

    def compute(images: list[Request]) -> Iterable[ImageResult]:
        return compute_results(images, backbone, no_heartbeat)

    for batch in read_batches(run):
        complete_batch(storage, run, read_plan(run), batch, compute)


def train(storage: Storage, run: RunFolder, may_commit: Heartbeat = no_heartbeat) -> None:
    """Train the head of a run whose batches are complete."""
    train_run(storage, run, read_plan(run), no_heartbeat, may_commit)


def trained(storage: Storage, folder: Path, **options) -> RunFolder:
    """Plan a run (see `make_run`), compute its bottlenecks, and train its head."""
    run = make_run(storage, folder, **options)
    compute_run(storage, run)
    train(storage, run)
    return run
