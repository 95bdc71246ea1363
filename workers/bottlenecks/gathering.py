"""Gather the bottlenecks of a run from its shards by split, and account for every image."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.store import read_description
from workers.bottlenecks.batches import read_results
from workers.bottlenecks.requests import ImageResult
from workers.errors import BottlenecksMissingError, RunError
from workers.heads.head import Examples
from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import write_whole
from workers.storage.label_sets import split_labels
from workers.storage.layout import RunFolder
from workers.storage.manifest import PlannedImage, count_split, read_batches
from workers.storage.plan import Plan, Run
from workers.storage.temporary import scratch_prefix

SPLITS = ("training", "validation", "testing")
# Larger sets of bottlenecks are gathered in a temporary file, and read from there.
_IN_MEMORY_BYTES = 2 * 1024**3
_ROWS_AT_ONCE = 65_536
_COUNTED = (
    "computed", "cached", "quarantined", "left_out", *SPLITS, "variants", "variants_computed",
)  # fmt: skip


@dataclass
class Gathered:
    """All bottlenecks of a run by split, and what happened to every image.

    Attributes:
        examples: By split; in training each photograph is followed by its variants.
        counts: Numbers of photographs; "variants" and "variants_computed" of variants.
        quarantine: Path and reason of each photograph that could not be read.
        copies: Photographs that were left out because a held-out one has their content.
        digests: SHA-256 of the photograph of each example, by split.
        is_variant: Which training examples are variants, bool, shape (n,).
    """

    examples: dict[str, Examples]
    counts: Counter[str] = field(default_factory=Counter)
    quarantine: list[tuple[str, str]] = field(default_factory=list)
    copies: list["Copy"] = field(default_factory=list)
    digests: dict[str, list[bytes | None]] = field(default_factory=dict)
    is_variant: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    def hide_test(self) -> None:
        """Remove the test images, so that nothing can be chosen by them."""
        width = self.examples["testing"].bottlenecks.shape[1]
        labels = self.examples["testing"].labels[:0]
        self.examples["testing"] = Examples(np.empty((0, width), np.float32), labels, [])
        self.digests["testing"] = []

    def photographs(self) -> "Gathered":
        """Return the same without variants."""
        if not self.is_variant.any():
            return self
        rows = np.flatnonzero(~self.is_variant)
        training, digests = self.examples["training"], self.digests["training"]
        alone = Examples(
            training.bottlenecks[rows], training.labels[rows], [training.paths[i] for i in rows]
        )
        return replace(
            self,
            examples={**self.examples, "training": alone},
            digests={**self.digests, "training": [digests[i] for i in rows]},
            is_variant=np.zeros(len(rows), np.bool_),
        )


@dataclass(frozen=True)
class Copy:
    """A photograph that was left out; `labels` are the numbers of its labels."""

    split: str
    path: str
    labels: tuple[int, ...]
    digest: bytes | None


def gather_bottlenecks(run: Run, heartbeat: Heartbeat) -> Gathered:
    """Return the bottlenecks of every image that could be read.

    Copies of held-out images are left out, see `contents_held_out`. An image goes with all of its
    variants or not at all, so that none can be missed silently.

    Raises:
        BottlenecksMissingError: Some batches must be done again; they are marked.
        RunError: When the manifest has an image without a split.
    """
    gathered = Gathered({}, Counter(dict.fromkeys(_COUNTED, 0)))
    width = read_description(run.storage, run.plan.backbone_id).bottleneck_size
    numbering = _Numbering(run.plan)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as scratch:
        parts = {split: _Part.allocate(scratch, split, run.folder, width) for split in SPLITS}
    rows = _results(run, heartbeat)
    for _, group in itertools.groupby(rows, key=lambda row: row[0].path):
        _add_photograph(gathered, parts, numbering, list(group))
    barred = contents_held_out(
        (split, digest) for split, part in parts.items() for digest in part.digests
    )
    for split in ("validation", "training"):
        gathered.copies += parts[split].leave_out(split, barred[split])
    gathered.counts["left_out"] = len(gathered.copies)
    for split, part in parts.items():
        gathered.examples[split] = part.examples(numbering)
        gathered.digests[split] = part.digests
        gathered.counts[split] = len(part.labels) - part.variants
        gathered.counts["variants"] += part.variants
    gathered.is_variant = np.array(parts["training"].is_variant, np.bool_)
    return gathered


def contents_held_out(images: Iterable[tuple[str | None, bytes | None]]) -> dict[str, set[bytes]]:
    """Return, for each split, the contents that none of its images may have.

    The test split keeps all of its images. A copy of one in another split, and a copy of a
    validation image in training, would leak the answer.

    Args:
        images: Split and digest of the content of each; either may be unknown.
    """
    contents: dict[str, set[bytes]] = {split: set() for split in SPLITS}
    for split, digest in images:
        if split is not None and digest is not None:
            contents[split].add(digest)
    testing, validation = contents["testing"], contents["validation"]
    return {"testing": set(), "validation": testing, "training": testing | validation}


def _add_photograph(
    gathered: Gathered,
    parts: dict[str, "_Part"],
    numbering: "_Numbering",
    rows: list[tuple[PlannedImage, ImageResult]],
) -> None:
    """Add one image and the variants that follow it, or the reason why not."""
    (image, own), variants = rows[0], rows[1:]
    failed = next((result for _, result in rows if result.bottleneck is None), None)
    if failed:
        gathered.counts["quarantined"] += 1
        gathered.quarantine.append((image.path, failed.error or "unknown"))
        return
    gathered.counts["cached" if image.is_cached else "computed"] += 1
    gathered.counts["variants_computed"] += sum(not row.is_cached for row, _ in variants)
    labels, part = numbering.find(image.label or ""), parts.get(image.split or "")
    if part is None:
        raise RunError(f"The manifest has no split for {image.path!r}. Submit the folder again.")
    for row, result in rows:
        part.add(image.path, labels, own.digest, result.bottleneck, row.variant > 0)


class _Numbering:
    """The numbers of the labels that the manifest names."""

    def __init__(self, plan: Plan) -> None:
        self.is_multi_label = plan.training is not None and plan.training.multi_label
        self.n_labels = len(plan.labels)
        self._numbers = {label: number for number, label in enumerate(plan.labels)}
        self._known: dict[str, tuple[int, ...]] = {}

    def find(self, text: str) -> tuple[int, ...]:
        """Return the numbers of all labels of an image."""
        # There are few sets of labels and many images.
        if text not in self._known:
            labels = split_labels(text) if self.is_multi_label else [text]
            self._known[text] = tuple(self._numbers[label] for label in labels)
        return self._known[text]

    def array(self, answers: list[tuple[int, ...]]) -> NDArray[Any]:
        """Return the labels of images as `Examples` holds them."""
        if not self.is_multi_label:
            return np.array([number for (number,) in answers], np.int64)
        table = np.zeros((len(answers), self.n_labels), np.bool_)
        for row, numbers in enumerate(answers):
            table[row, list(numbers)] = True
        return table


@dataclass
class _Part:
    """The examples of one split while they are gathered."""

    bottlenecks: np.ndarray
    labels: list[tuple[int, ...]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)
    is_variant: list[bool] = field(default_factory=list)

    @classmethod
    def allocate(cls, scratch: str, split: str, folder: RunFolder, width: int) -> "_Part":
        shape = (count_split(folder, split), width)
        if shape[0] * width * 4 <= _IN_MEMORY_BYTES:
            return cls(np.empty(shape, np.float32))
        # The scratch folder is deleted at once; the mapping keeps the file alive.
        return cls(np.memmap(f"{scratch}/{split}", np.float32, "w+", shape=shape))

    def add(
        self,
        path: str,
        labels: tuple[int, ...],
        digest: bytes | None,
        bottleneck: np.ndarray | None,
        is_variant: bool,
    ) -> None:
        """Add an image or a variant, with the path and digest of the image in both cases."""
        self.bottlenecks[len(self.labels)] = bottleneck
        self.labels.append(labels)
        self.paths.append(path)
        self.digests.append(digest)
        self.is_variant.append(is_variant)

    @property
    def variants(self) -> int:
        return sum(self.is_variant)

    def leave_out(self, split: str, digests: set[bytes]) -> list[Copy]:
        """Remove the photographs with these digests and their variants; return the former."""
        keep = [i for i, digest in enumerate(self.digests) if digest not in digests]
        copies = [
            Copy(split, path, labels, digest)
            for path, labels, digest, is_variant in zip(
                self.paths, self.labels, self.digests, self.is_variant, strict=True
            )
            if digest in digests and not is_variant
        ]
        if copies:
            # In place and in pieces: the bottlenecks may be larger than memory.
            for start in range(0, len(keep), _ROWS_AT_ONCE):
                rows = keep[start : start + _ROWS_AT_ONCE]
                self.bottlenecks[start : start + len(rows)] = self.bottlenecks[rows]
            self.labels = [self.labels[i] for i in keep]
            self.paths = [self.paths[i] for i in keep]
            self.digests = [self.digests[i] for i in keep]
            self.is_variant = [self.is_variant[i] for i in keep]
        return copies

    def examples(self, numbering: _Numbering) -> Examples:
        count = len(self.labels)
        return Examples(self.bottlenecks[:count], numbering.array(self.labels), self.paths)


def _results(run: Run, heartbeat: Heartbeat) -> Iterator[tuple[PlannedImage, ImageResult]]:
    incomplete = 0
    for batch in read_batches(run.folder):
        results = read_results(run, batch)
        if None in results:
            incomplete += 1
            write_whole(run.folder.redo / str(batch.number), b"")
        heartbeat()
        yield from (
            (image, result)
            for image, result in zip(batch.images, results, strict=True)
            if result is not None
        )
    if incomplete:
        raise BottlenecksMissingError(f"{incomplete} batches have to be done again.")
