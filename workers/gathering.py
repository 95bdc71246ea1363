"""Gather the bottlenecks of a run from its shards, by split, with an account of every image."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from workers.backbones.stored import read_description
from workers.bottlenecks import ImageResult, read_results
from workers.errors import BottlenecksMissingError
from workers.heads.head import Examples
from workers.storage.atomic import write_whole
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import PlannedImage, count_split, read_batches
from workers.storage.plan import Plan

SPLITS = ("training", "validation", "testing")
# Larger sets of bottlenecks are gathered in a temporary file and stream from there.
_IN_MEMORY_BYTES = 2 * 1024**3
_ROWS_AT_ONCE = 65_536
_COUNTED = ("computed", "cached", "quarantined", "left_out", *SPLITS)


@dataclass
class Gathered:
    """All bottlenecks of a run by split, and what happened to every image.

    Attributes:
        digests: SHA-256 of each example by split, in the order of the examples.
        copies: Training images that were left out: path, number of the label, digest.
    """

    examples: dict[str, Examples]
    counts: Counter[str] = field(default_factory=Counter)
    quarantine: list[tuple[str, str]] = field(default_factory=list)
    digests: dict[str, list[bytes | None]] = field(default_factory=dict)
    copies: list[tuple[str, int, bytes | None]] = field(default_factory=list)


def gather_bottlenecks(
    storage: Storage, folder: RunFolder, plan: Plan, beat: Callable[[], None]
) -> Gathered:
    """Return the bottlenecks of every image that could be read.

    A training image with the very content of one that is held out is left out: it would
    leak the answer.

    Raises:
        BottlenecksMissingError: Some batches must be done again; they are marked.
    """
    gathered = Gathered({}, Counter(dict.fromkeys(_COUNTED, 0)))
    width = read_description(storage, plan.backbone_id)["bottleneck_size"]
    numbering = {label: number for number, label in enumerate(plan.labels)}
    with tempfile.TemporaryDirectory(prefix="poets-") as scratch:
        parts = {split: _Part.allocate(scratch, split, folder, width) for split in SPLITS}
    for image, result in _results(storage, folder, plan, beat):
        if result.bottleneck is None:
            gathered.counts["quarantined"] += 1
            gathered.quarantine.append((image.path, result.error or "unknown"))
            continue
        gathered.counts["cached" if image.is_cached else "computed"] += 1
        parts[image.split or "training"].add(image, numbering, result)
    gathered.copies = parts["training"].leave_out(
        {digest for split in SPLITS[1:] for digest in parts[split].digests}
    )
    gathered.counts["left_out"] = len(gathered.copies)
    for split, part in parts.items():
        gathered.examples[split] = part.examples()
        gathered.digests[split] = part.digests
        gathered.counts[split] = len(part.labels)
    return gathered


@dataclass
class _Part:
    """The examples of one split while they are gathered."""

    bottlenecks: np.ndarray
    labels: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)

    @classmethod
    def allocate(cls, scratch: str, split: str, folder: RunFolder, width: int) -> "_Part":
        shape = (count_split(folder, split), width)
        if shape[0] * width * 4 <= _IN_MEMORY_BYTES:
            return cls(np.empty(shape, np.float32))
        # Its name goes with the scratch folder; the mapping keeps the file alive.
        return cls(np.memmap(f"{scratch}/{split}", np.float32, "w+", shape=shape))

    def add(self, image: PlannedImage, numbering: dict[str, int], result: ImageResult) -> None:
        self.bottlenecks[len(self.labels)] = result.bottleneck
        self.labels.append(numbering[image.label or ""])
        self.paths.append(image.path)
        self.digests.append(result.digest)

    def leave_out(self, digests: set[bytes | None]) -> list[tuple[str, int, bytes | None]]:
        images = zip(self.paths, self.labels, self.digests, strict=True)
        left_out = [image for image in images if image[2] in digests]
        if left_out:
            keep = [i for i, digest in enumerate(self.digests) if digest not in digests]
            # In place and in pieces: the bottlenecks may be larger than memory.
            for start in range(0, len(keep), _ROWS_AT_ONCE):
                rows = keep[start : start + _ROWS_AT_ONCE]
                self.bottlenecks[start : start + len(rows)] = self.bottlenecks[rows]
            self.labels = [self.labels[i] for i in keep]
            self.paths = [self.paths[i] for i in keep]
            self.digests = [self.digests[i] for i in keep]
        return left_out

    def examples(self) -> Examples:
        count = len(self.labels)
        return Examples(self.bottlenecks[:count], np.array(self.labels, np.int64), self.paths)


def _results(
    storage: Storage, folder: RunFolder, plan: Plan, beat: Callable[[], None]
) -> Iterator[tuple[PlannedImage, ImageResult]]:
    incomplete = 0
    for batch in read_batches(folder):
        results = read_results(storage, plan, batch)
        if None in results:
            incomplete += 1
            write_whole(folder.redo / str(batch.number), b"")
        beat()
        yield from (
            (image, result)
            for image, result in zip(batch.images, results, strict=True)
            if result is not None
        )
    if incomplete:
        raise BottlenecksMissingError(f"{incomplete} batches have to be done again.")
