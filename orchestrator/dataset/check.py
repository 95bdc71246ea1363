"""Look at a data set before any work: what a run could not read, or would learn falsely.

Nothing is ever written, changed or deleted.
"""

import time
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from orchestrator.dataset.check_contents import (
    SeenImages,
    find_copies,
    find_untaught_labels,
    judge_images,
)
from orchestrator.dataset.check_names import look_over
from orchestrator.dataset.concerns import KINDS, Concern
from orchestrator.dataset.inspect_files import inspect_files
from orchestrator.dataset.label_file import apply_label_file, read_label_file
from orchestrator.dataset.labels import assign_splits, check_labels, find_small_labels, list_labels
from orchestrator.dataset.scan import FoundImage, Scan, scan_folder
from orchestrator.dataset.split import Shares, earlier_exceptions
from orchestrator.progress import Meter, OnProgress
from workers.errors import DatasetError
from workers.images.files import is_folder_with_files
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
        options: Of which those of the split count.
        label_file: CSV with the labels of each image; None when its folder is its label.
        is_quick: Look at the headers only; copies are not looked for then.
    """

    folder: Path
    options: TrainingOptions
    label_file: Path | None = None
    is_quick: bool = False


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        labels: Images of each label.
        concerns: In the order of KINDS, then of paths.
    """

    root: str
    images: int
    unreadable: int
    labels: dict[str, int]
    ignored: dict[str, int]
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
        """Whether anything was found that would spoil a run."""
        return any(concern.spoils for concern in self.concerns)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": self.root,
            "spoils": self.spoils,
            "images": self.images,
            "unreadable": self.unreadable,
            "labels": self.labels,
            "ignored": self.ignored,
            "quick": self.is_quick,
            "seconds": round(self.seconds, 3),
            "counts": self.counts,
            "concerns": [concern.to_json() for concern in self.concerns],
        }


def check_folder(settings: Settings, request: CheckRequest, on_progress: OnProgress) -> Check:
    """Return what a run on a folder would stumble over.

    Raises:
        DatasetError: When there is nothing to look at, as `submit-dataset` says it.
        StorageError: When the machine or the mount is in trouble.
    """
    began = time.monotonic()
    options = replace(request.options, multi_label=request.label_file is not None)
    Shares(options.testing_percentage, options.validation_percentage)
    label_file = read_label_file(request.label_file) if request.label_file else None
    scan = scan_folder(request.folder, on_progress)
    if label_file:
        apply_label_file(scan, label_file)
    images = list(scan.images)
    concerns = [Concern("label_file", warning) for warning in scan.warnings]
    concerns += _find_refusal(scan, images, options)
    earlier = earlier_exceptions(Storage(settings.storage))
    small = find_small_labels((image for image in images if image.label), options)
    concerns += [Concern("small_labels", f"has {n}", (label,)) for label, n in small.items()]
    splits, found = _split(images, small, options, earlier)
    seen = SeenImages(images, options.multi_label, splits)
    concerns += [*found, *look_over(scan, images, options.multi_label, small)]
    _inspect(scan, seen, request.is_quick, on_progress)
    concerns += [*judge_images(seen), *find_copies(seen), *find_untaught_labels(seen)]
    counts = Counter(label for place in range(len(images)) for label in seen.labels(place))
    order = list(KINDS)
    return Check(
        root=scan.root,
        images=len(images),
        unreadable=len(seen.broken),
        labels=dict(sorted(counts.items())),
        ignored=dict(scan.ignored),
        concerns=sorted(concerns, key=lambda concern: order.index(concern.kind)),
        is_quick=request.is_quick,
        seconds=time.monotonic() - began,
    )


def _find_refusal(
    scan: Scan, images: list[FoundImage], options: TrainingOptions
) -> Iterator[Concern]:
    labels = list_labels(images, options.multi_label)
    try:
        check_labels(scan, labels, options.multi_label)
    except DatasetError as error:
        if not images:
            raise
        yield Concern("refused", str(error))


def _split(
    images: list[FoundImage],
    small: Container[str],
    options: TrainingOptions,
    earlier: dict[str, str],
) -> tuple[list[str | None], list[Concern]]:
    """Return the split of each image, as `submit-dataset` would choose it, and what is wrong.

    Args:
        small: Labels that it would refuse; their images are in no split.
    """
    has_split = [image.label is not None and image.label not in small for image in images]
    if not any(has_split):
        return [None] * len(images), []
    try:
        split, warnings = assign_splits(list(compress(images, has_split)), options, earlier)
    except DatasetError as error:
        return [None] * len(images), [Concern("refused", str(error))]
    names = iter(split.splits)
    splits = [next(names) if has else None for has in has_split]
    return splits, [Concern("label_file", warning) for warning in warnings]


def _inspect(scan: Scan, seen: SeenImages, is_quick: bool, on_progress: OnProgress) -> None:
    root = decode_name(scan.root)
    paths = (f"{root}/{decode_name(image.path)}" for image in seen.images)
    meter, reported = Meter(len(seen.images)), 0.0
    processes = min(default_concurrency("cpu").value, len(seen.images))
    for done, (place, found) in enumerate(inspect_files(paths, processes, is_quick), 1):
        seen.add(place, found)
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY_S or done == len(seen.images):
            reported = now
            on_progress(meter.measure("checking", done, len(seen.broken)))
    if seen.broken:
        _check_root(root)


def _check_root(root: str) -> None:
    """Take a mount that has vanished for what it is, not for images that are gone."""
    if not is_folder_with_files(root):
        raise DatasetError(f"The folder {root} has vanished meanwhile. Check it again.")
