"""Check a data set before any work: what a run could not read, or would learn falsely.

Nothing is ever written, changed or deleted.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.dataset.check_contents import InspectedImages, check_contents
from orchestrator.dataset.check_names import check_names
from orchestrator.dataset.concerns import KINDS, Concern
from orchestrator.dataset.dataset import Dataset, open_dataset
from orchestrator.dataset.inspect_files import inspect_files
from orchestrator.dataset.split import check_shares
from orchestrator.progress import Meter, OnProgress
from workers.errors import DatasetError, SmallLabelsError
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
        options: Only those of the split count.
        label_file: CSV with the labels of each image; None when its folder is its label.
        is_quick: Read headers only; copies are then not found.
    """

    folder: Path
    options: TrainingOptions
    label_file: Path | None = None
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
            "ignored": self.dataset.scan.ignored,
            "quick": self.is_quick,
            "seconds": round(self.seconds, 3),
            "counts": self.counts,
            "concerns": [concern.to_json() for concern in self.concerns],
        }


def check_folder(settings: Settings, request: CheckRequest, on_progress: OnProgress) -> Check:
    """Return what would spoil a run on a folder.

    Raises:
        UsageError: When the percentages held out are impossible.
        DatasetError: When there is nothing to check; `submit-dataset` says the same.
        StorageError: When the machine or the mount fails.
    """
    began = time.monotonic()
    check_shares(request.options)
    dataset = open_dataset(
        Storage(settings.storage), request.folder, request.options, request.label_file, on_progress
    )
    images = _inspect(dataset, request.is_quick, on_progress)
    concerns = [*_find_refusals(dataset), *check_names(dataset), *check_contents(images)]
    concerns.sort(key=lambda concern: list(KINDS).index(concern.kind))
    seconds = time.monotonic() - began
    return Check(dataset, len(images.broken), concerns, request.is_quick, seconds)


def _find_refusals(dataset: Dataset) -> Iterator[Concern]:
    """Yield what a submit would say."""
    for error in dataset.refusals:
        if isinstance(error, SmallLabelsError):
            for label, count in error.counts.items():
                yield Concern("small_labels", f"has {count}", (label,))
        else:
            yield Concern("refused", str(error))
    for remark in dataset.remarks:
        yield Concern("label_file", remark)


def _inspect(dataset: Dataset, is_quick: bool, on_progress: OnProgress) -> InspectedImages:
    root = decode_name(dataset.scan.root)
    paths = (f"{root}/{decode_name(image.path)}" for image in dataset.images)
    images, total = InspectedImages(dataset), len(dataset.images)
    meter, reported = Meter(total), 0.0
    processes = min(default_concurrency("cpu").value, total)
    for done, (index, found) in enumerate(inspect_files(paths, processes, is_quick), 1):
        images.add(index, found)
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY_S or done == total:
            reported = now
            on_progress(meter.measure("checking", done, len(images.broken)))
    # Broken images may be a mount that has vanished.
    if images.broken and not is_folder_with_files(root):
        raise DatasetError(f"The folder {root} vanished during the check. Check it again.")
    return images
