"""What the names and sizes of a data set tell, without reading any image."""

import os
from collections.abc import Iterator

from orchestrator.dataset.concerns import FEW_IMAGES, AffectedFile, Concern
from orchestrator.dataset.dataset import Dataset, find_alike_labels
from orchestrator.dataset.scan import is_entered
from workers.images.files import MAX_BYTES
from workers.storage.names import decode_name, encode_name


def check_names(dataset: Dataset) -> Iterator[Concern]:
    """Yield what names alone tell of a data set."""
    labels, is_multi_label = dataset.labels, dataset.is_multi_label
    for group in find_alike_labels(labels):
        yield Concern("alike_labels", labels=tuple(group))
    small = dataset.small_labels
    for label, count in labels.items():
        if count < FEW_IMAGES and label not in small:
            yield Concern("few_images", f"has {count}", (label,))
    if labels:
        for image in dataset.images:
            if image.label is None:
                yield Concern("unlabelled", files=(AffectedFile(image.path),))
        if not is_multi_label:
            for name in _empty_folders(dataset):
                yield Concern("empty_folders", files=(AffectedFile(name),))
    for path, kind in dataset.scan.unopened or ():
        yield Concern("unopened", f"one of the {kind}", files=(AffectedFile(path),))


def check_sizes(dataset: Dataset) -> Iterator[Concern]:
    """Yield the labelled images whose size alone shows that they cannot be read."""
    for image in dataset.images:
        if image.label is None or 0 < image.size <= MAX_BYTES:
            continue
        files = (AffectedFile.of(image, dataset.is_multi_label),)
        if image.size == 0:
            yield Concern("unreadable", "empty file", files=files)
        else:
            reason = f"too large: {image.size} bytes, the limit is {MAX_BYTES}"
            yield Concern("oversized", reason, files=files)


def _empty_folders(dataset: Dataset) -> list[str]:
    """Return the folders that would be labels if they held an image."""
    root = decode_name(dataset.scan.root)
    with os.scandir(root) as entries:
        names = [
            encode_name(entry.name)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and is_entered(root, entry.name)
        ]
    return sorted(set(names) - set(dataset.labels))
