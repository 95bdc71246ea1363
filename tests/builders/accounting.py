"""The count after a fault: every planned image once, either committed or in quarantine."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from workers.bottlenecks.batches import image_uri, read_results
from workers.bottlenecks.requests import ImageResult
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import read_batches
from workers.storage.plan import Plan, Run, read_plan
from workers.storage.shards import Shard, read_shard


@dataclass(frozen=True)
class Account:
    """What storage alone says of a run, in images.

    Attributes:
        lost: Planned, but neither committed nor in quarantine.
        unexpected: Committed or in quarantine more than once, or without being planned.
    """

    planned: int
    committed: int
    quarantined: int
    lost: int
    unexpected: int


def account(storage: Path, run: str) -> Account:
    """Count a finished run again, from its manifest and its results."""
    folder = Storage(storage).run(run)
    plan = read_plan(folder)
    planned = Counter(image.path for batch in read_batches(folder) for image in batch.images)
    committed, quarantined = (
        _labelled(folder) if plan.labelling else _trained(storage, folder, plan)
    )
    found = committed + quarantined
    return Account(
        planned.total(),
        committed.total(),
        quarantined.total(),
        (planned - found).total(),
        (found - planned).total(),
    )


def assert_all_accounted(storage: Path, run: str, quarantined: int = 0) -> None:
    """Assert that nothing was lost or is there twice, and how many images are in quarantine."""
    counted = account(storage, run)
    expected = Account(counted.planned, counted.planned - quarantined, quarantined, 0, 0)
    assert counted == expected
    assert counted.planned > 0


def assert_same_model(found: Path, expected: Path) -> None:
    """Assert that two model folders hold the same head, number for number."""
    with np.load(found / "head.npz") as one, np.load(expected / "head.npz") as other:
        assert one.files == other.files
        for name in other.files:
            np.testing.assert_array_equal(one[name], other[name])
    assert (found / "labels.txt").read_bytes() == (expected / "labels.txt").read_bytes()


def assert_same_bottlenecks(found: Path, expected: Path) -> None:
    """Assert that two storages hold the same shards, byte for byte."""
    one, other = (
        {path.name: path.read_bytes() for path in storage.glob("bottlenecks/*/*/*.arrow")}
        for storage in (found, expected)
    )
    assert other
    assert one == other


def stored_results(storage: Storage, run: str) -> dict[str, ImageResult | None]:
    """Return what storage has for each image of a run, by path, read as a trainer does."""
    opened = Run.open(storage, run)
    return {
        image.path: result
        for batch in read_batches(opened.folder)
        for image, result in zip(batch.images, read_results(opened, batch), strict=True)
    }


def _trained(storage: Path, folder: RunFolder, plan: Plan) -> tuple[Counter[str], Counter[str]]:
    shards: dict[str, Shard] = {}
    committed: Counter[str] = Counter()
    for batch in read_batches(folder):
        for image in batch.images:
            if image.shard not in shards:
                path = Storage(storage).shard(plan.backbone_id, image.shard)
                shards[image.shard] = read_shard(path)
            committed[image.path] += _count_rows(shards[image.shard], image_uri(plan, image))
    with (folder.model / "quarantine.csv").open(newline="") as file:
        quarantined = Counter(row["path"] for row in csv.DictReader(file) if row["reason"])
    return committed, quarantined


def _count_rows(shard: Shard, uri: str) -> int:
    """Return how many bottlenecks a shard has for an image; works for what is not moved."""
    rows = zip(shard.uris, shard.errors, strict=True)
    return sum(error is None and name == uri for name, error in rows)


def _labelled(folder: RunFolder) -> tuple[Counter[str], Counter[str]]:
    rows = list(_prediction_rows(folder))
    return (
        Counter(path for path, status in rows if status != "failed"),
        Counter(path for path, status in rows if status == "failed"),
    )


def _prediction_rows(folder: RunFolder) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.predictions.glob("*.parquet")):
        table = pq.read_table(path, columns=["path", "status"])
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)
