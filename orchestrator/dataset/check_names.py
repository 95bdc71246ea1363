"""What the names and sizes of a data set tell, without reading any image."""

import os
from collections.abc import Iterator

from orchestrator.dataset.concerns import FEW_IMAGES, AffectedFile, Concern, warn_of
from orchestrator.dataset.dataset import Dataset, find_alike_labels
from orchestrator.dataset.scan import is_entered
from workers.images.files import MAX_BYTES
from workers.storage.names import decode_name, encode_name


def warn_of_dataset(dataset: Dataset) -> list[str]:
    """Return what a run warns of before any work, sentences."""
    return [*dataset.remarks, *warn_of([*check_names(dataset), *check_sizes(dataset)])]


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
    yield from _check_repeats(dataset)
    for path, kind in dataset.scan.unopened or ():
        yield Concern("unopened", f"one of the {kind}", files=(AffectedFile(path),))


def _check_repeats(dataset: Dataset) -> Iterator[Concern]:
    """Yield the images that links put under two labels, or into the folders of two splits."""
    place = dataset.layout.place
    for pair in () if dataset.is_multi_label else dataset.scan.repeats:
        places = [place(path) for path in pair]
        files = tuple(
            AffectedFile(path, (at.label,) if at.label else (), at.split)
            for path, at in zip(pair, places, strict=True)
        )
        if places[0].label != places[1].label:
            yield Concern("two_labels", "one file; the first is not used", files=files)
        elif places[0].split != places[1].split:
            yield Concern("two_splits", "one file; the first is not used", files=files)


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
    depth = (dataset.layout.label_at or 0) + 1
    filled = {
        tuple(image.path.split("/")[:-1][:at])
        for image in dataset.images
        for at in range(1, depth + 1)
    }
    return sorted("/".join(path) for path in _list_folders(root, (), depth) if path not in filled)


def _list_folders(root: str, above: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the folders below `root` down to a depth; of an empty one not those in it."""
    with os.scandir("/".join((root, *map(decode_name, above)))) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and is_entered(root, entry.name)
        ]
    for name in names:
        path = (*above, encode_name(name))
        yield path
        if len(path) < depth:
            yield from _list_folders(root, path, depth)
