"""What poets says about a data set before any work: its labels and splits, with their counts."""

import shlex
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.dataset.dataset import Dataset

_MOST_LABELS = 20


def summarize(dataset: "Dataset") -> list[str]:
    """Return lines: the folder, the labels, the splits and where these come from."""
    heading = f"{dataset.scan.root}: {len(dataset.images):,} images"
    if not dataset.labels:
        return [heading]
    labels = [f"{label} {count:,}" for label, count in list(dataset.labels.items())[:_MOST_LABELS]]
    more = len(dataset.labels) - len(labels)
    listed = ", ".join(labels) + (f" and {more:,} more" if more else "")
    counts = ", ".join(f"{count:,} {split}" for split, count in dataset.split_counts.items())
    return [
        heading,
        f"  labels  {len(dataset.labels):,}: {listed}",
        f"  splits  {counts} ({_origin_of_splits(dataset)})",
    ]


def _origin_of_splits(dataset: "Dataset") -> str:
    if not dataset.split_folders:
        return "chosen by file name"
    folders = defaultdict(list)
    for folder, split in dataset.split_folders.items():
        folders[split].append(folder)
    parts = [f"{split} from {' and '.join(folders[split])}" for split in dataset.given_splits]
    hashed = [
        split
        for split, count in dataset.split_counts.items()
        if count and split not in dataset.given_splits
    ]
    if hashed:
        parts.append(f"{' and '.join(hashed)} chosen from the training images by file name")
    return ", ".join(parts)


def describe_links(ignored: Mapping[str, int]) -> str | None:
    """Return how many links were not followed, if any were there."""
    links = ignored.get("links", 0)
    if not links:
        return None
    were = "link was" if links == 1 else "links were"
    return f"{links:,} {were} not followed; --follow-links follows them."


def suggest_other_folder(dataset: "Dataset") -> str | None:
    """Return the command for the folder that may have been meant, if there is one."""
    folder = dataset.other_folder
    return folder and f"If you meant the folders in it: poets submit-dataset {shlex.quote(folder)}"
