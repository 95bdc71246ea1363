"""Check a data set before any work: what a run could not read, or would learn falsely.

Nothing is ever written, changed or deleted.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from orchestrator.dataset.check_names import check_names
from orchestrator.dataset.concerns import KINDS, AffectedFile, Concern
from orchestrator.dataset.dataset import Dataset, Source, labels_of, open_dataset
from orchestrator.dataset.inspect_files import inspect_files
from orchestrator.dataset.split import TRAINING, check_shares
from orchestrator.progress import Meter, OnProgress
from workers.bottlenecks.gathering import contents_held_out
from workers.errors import DatasetError, SmallLabelsError
from workers.images.files import MAX_BYTES, has_ending_of, is_folder_with_files
from workers.images.inspection import Inspection
from workers.processes.capacity import default_concurrency
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.names import decode_name
from workers.storage.plan import TrainingOptions

_REPORT_EVERY_S = 0.2


@dataclass(frozen=True)
class CheckRequest:
    """What `poets check` was asked for.

    Attributes:
        options: Only those of the split count.
        is_quick: Read headers only; copies are then not found.
    """

    source: Source
    options: TrainingOptions
    is_quick: bool = False


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        concerns: In the order of KINDS, then of paths.
    """

    dataset: Dataset
    unreadable: int
    concerns: list[Concern]
    is_quick: bool
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """How many concerns of each kind there are."""
        found = Counter(concern.kind for concern in self.concerns)
        return {kind: found[kind] for kind in KINDS}

    @property
    def spoils(self) -> bool:
        """Whether anything would spoil a run."""
        return any(concern.spoils for concern in self.concerns)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": self.dataset.scan.root,
            "spoils": self.spoils,
            "images": len(self.dataset.images),
            "unreadable": self.unreadable,
            "labels": self.dataset.labels,
            "splits": self.dataset.split_counts,
            "split_folders": self.dataset.split_folders,
            "ignored": self.dataset.scan.ignored,
            "quick": self.is_quick,
            "seconds": round(self.seconds, 3),
            "counts": self.counts,
            "concerns": [concern.to_json() for concern in self.concerns],
        }


@dataclass
class _Inspected:
    """What is known of the images of a data set, by their index in it.

    Attributes:
        digests: SHA-256 of each that can be read; None also when it was not inspected.
        broken: Images that cannot be read.
        misnamed: Images with the extension of another format, and their own format.
        doubtful: Kinds of concern about images that can be read, with the image and reason.
    """

    dataset: Dataset
    digests: list[bytes | None] = field(init=False)
    broken: dict[int, Inspection] = field(init=False, default_factory=dict)
    misnamed: dict[int, str] = field(init=False, default_factory=dict)
    doubtful: list[tuple[str, int, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.digests = [None] * len(self.dataset.images)

    def add(self, index: int, found: Inspection) -> None:
        """Take in what an inspection of an image has found."""
        if found.error is not None:
            self.broken[index] = found
            return
        self.digests[index] = bytes.fromhex(found.digest) if found.digest else None
        if found.format and not has_ending_of(self.dataset.images[index].path, found.format):
            self.misnamed[index] = found.format
        if found.damage:
            self.doubtful.append(("damaged", index, found.damage))
        if found.is_faint:
            self.doubtful.append(("faint", index, ""))
        if found.profile:
            self.doubtful.append(("profiles", index, found.profile))

    def concern(self, kind: str, indices: Iterable[int], reason: str = "") -> Concern:
        """Return a concern about some images."""
        found = self.dataset
        files = (
            AffectedFile.of(found.images[index], found.is_multi_label, found.splits[index])
            for index in indices
        )
        return Concern(kind, reason, files=tuple(files))


def check_folder(
    settings: Settings,
    request: CheckRequest,
    on_progress: OnProgress,
    on_dataset: Callable[[Dataset], None] = lambda _: None,
) -> Check:
    """Return what would spoil a run on a folder.

    Args:
        on_dataset: Called with the data set before any image is read.

    Raises:
        UsageError: When the percentages held out are impossible.
        DatasetError: When there is nothing to check; `submit-dataset` says the same.
        StorageError: When the machine or the mount fails.
    """
    began = time.monotonic()
    check_shares(request.options)
    dataset = open_dataset(Storage(settings.storage), request.source, request.options, on_progress)
    on_dataset(dataset)
    images = _inspect(dataset, request.is_quick, on_progress)
    concerns = [
        *_find_refusals(dataset),
        *check_names(dataset),
        *_find_unreadable(images),
        *_find_copies(images),
        *_find_untaught_labels(images),
    ]
    concerns.sort(key=lambda concern: list(KINDS).index(concern.kind))
    seconds = time.monotonic() - began
    return Check(dataset, len(images.broken), concerns, request.is_quick, seconds)


def _find_refusals(dataset: Dataset) -> Iterator[Concern]:
    """Yield what a submit would say."""
    for error in dataset.refusals:
        if isinstance(error, SmallLabelsError):
            of = " training images" if dataset.layout.has_splits else ""
            for label, count in error.counts.items():
                yield Concern("small_labels", f"has {count}{of}", (label,))
        else:
            yield Concern("refused", str(error))
    for remark in dataset.remarks:
        yield Concern("label_file", remark)


def _inspect(dataset: Dataset, is_quick: bool, on_progress: OnProgress) -> _Inspected:
    root = decode_name(dataset.scan.root)
    paths = (f"{root}/{decode_name(image.path)}" for image in dataset.images)
    readable = map(os.path.realpath, paths) if dataset.scan.follows_links else paths
    images, total = _Inspected(dataset), len(dataset.images)
    meter, reported = Meter(total), 0.0
    processes = min(default_concurrency("cpu").value, total)
    for done, (index, found) in enumerate(inspect_files(readable, processes, is_quick), 1):
        images.add(index, found)
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY_S or done == total:
            reported = now
            on_progress(meter.measure("checking", done, len(images.broken)))
    # Broken images may be a mount that has vanished.
    if images.broken and not is_folder_with_files(root):
        raise DatasetError(f"The folder {root} vanished during the check. Check it again.")
    return images


def _find_unreadable(images: _Inspected) -> Iterator[Concern]:
    """Yield the images that cannot be read, or not as they seem."""
    found = images.dataset.images
    if len(images.broken) == len(found):
        yield Concern("nothing_readable")
    for index, inspection in sorted(images.broken.items()):
        is_oversized = inspection.is_oversized or found[index].size > MAX_BYTES
        kind = "oversized" if is_oversized else "unreadable"
        yield images.concern(kind, [index], inspection.error or "")
    for index, name in sorted(images.misnamed.items()):
        yield images.concern("wrong_endings", [index], f"is {name}")
    for kind, index, reason in sorted(images.doubtful):
        yield images.concern(kind, [index], reason)


def _find_copies(images: _Inspected) -> Iterator[Concern]:
    """Yield the photographs that are there several times, byte for byte."""
    found, digests = images.dataset, images.digests
    read = [index for index, digest in enumerate(digests) if digest is not None]
    # Images of one content stay in order, since sorting is stable.
    read.sort(key=lambda index: digests[index] or b"")
    groups = [list(group) for _, group in groupby(read, key=digests.__getitem__)]
    for group in sorted(group for group in groups if len(group) > 1):
        if len({found.images[index].label for index in group} - {None}) > 1:
            kind = "two_labels"
        elif len({found.splits[index] for index in group} - {None}) > 1:
            kind = "two_splits"
        else:
            kind = "copies"
        yield images.concern(kind, group)


def _find_untaught_labels(images: _Inspected) -> Iterator[Concern]:
    """Yield the labels for which the trainer would find no image."""
    found = images.dataset
    barred = contents_held_out(zip(found.splits, images.digests, strict=True))[TRAINING]
    left: Counter[str] = Counter()
    for index, (image, split) in enumerate(zip(found.images, found.splits, strict=True)):
        if split is not None:
            teaches = (
                split == TRAINING
                and index not in images.broken
                and images.digests[index] not in barred
            )
            for label in labels_of(image, found.is_multi_label):
                left[label] += teaches
    for label, count in sorted(left.items()):
        if not count:
            yield Concern("untaught_labels", labels=(label,))
