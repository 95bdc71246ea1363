"""What the names and sizes of a data set tell, without reading any image."""

import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator

from orchestrator.dataset.concerns import FEW_IMAGES, Concern, Sighting, labels_of, sight
from orchestrator.dataset.labels import find_alike_labels
from orchestrator.dataset.scan import FoundImage, Scan
from workers.images.files import MAX_BYTES
from workers.storage.names import decode_name, encode_name


def look_over(
    scan: Scan, images: list[FoundImage], is_multi_label: bool, small: Container[str] = ()
) -> Iterator[Concern]:
    """Yield what names alone tell of a data set.

    Args:
        images: All that were found, those without a label too.
        small: Labels that are known to have too few images.
    """
    counts = Counter(label for image in images for label in labels_of(image, is_multi_label))
    for group in find_alike_labels(counts):
        yield Concern("alike_labels", labels=tuple(group))
    for label, count in sorted(counts.items()):
        if count < FEW_IMAGES and label not in small:
            yield Concern("few_images", f"has {count}", (label,))
    if counts:
        for image in images:
            if image.label is None:
                yield Concern("unlabelled", files=(sight(image, is_multi_label),))
    if not is_multi_label:
        for name in _empty_folders(scan, counts):
            yield Concern("empty_folders", files=(Sighting(name),))
    for path, kind in scan.unopened:
        yield Concern("unopened", f"one of the {kind}", files=(Sighting(path),))


def judge_sizes(images: Iterable[FoundImage], is_multi_label: bool) -> Iterator[Concern]:
    """Yield the images of which the size alone tells that they cannot be read."""
    for image in images:
        files = (sight(image, is_multi_label),)
        if image.size == 0:
            yield Concern("unreadable", "empty file", files=files)
        elif image.size > MAX_BYTES:
            reason = f"too large: {image.size} bytes, the limit is {MAX_BYTES}"
            yield Concern("oversized", reason, files=files)


def _empty_folders(scan: Scan, labels: Counter[str]) -> list[str]:
    """Return the folders that would be labels if they held an image."""
    if not labels:
        return []
    with os.scandir(decode_name(scan.root)) as entries:
        names = [
            encode_name(entry.name)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
    return sorted(set(names) - set(labels))
