"""What the contents of the images of a data set tell, once each has been inspected."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from orchestrator.dataset.concerns import AffectedFile, Concern
from orchestrator.dataset.dataset import Dataset
from orchestrator.dataset.labels import labels_of
from orchestrator.dataset.split import TRAINING
from workers.bottlenecks.gathering import contents_held_out
from workers.images.files import MAX_BYTES, has_ending_of
from workers.images.inspection import Inspection


@dataclass
class InspectedImages:
    """What is known of the images of a data set, by their index in it.

    Attributes:
        digests: SHA-256 of each that can be read; None also when it was not inspected.
        broken: Images that cannot be read.
        misnamed: Images with the extension of another format, and their own format.
    """

    dataset: Dataset
    digests: list[bytes | None] = field(init=False)
    broken: dict[int, Inspection] = field(init=False, default_factory=dict)
    misnamed: dict[int, str] = field(init=False, default_factory=dict)

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

    def concern(self, kind: str, indices: Iterable[int], reason: str = "") -> Concern:
        """Return a concern about some images."""
        found = self.dataset
        files = (
            AffectedFile.of(found.images[index], found.is_multi_label, found.splits[index])
            for index in indices
        )
        return Concern(kind, reason, files=tuple(files))


def check_contents(images: InspectedImages) -> Iterator[Concern]:
    """Yield what the contents tell of a data set."""
    yield from _find_unreadable(images)
    yield from _find_copies(images)
    yield from _find_untaught_labels(images)


def _find_unreadable(images: InspectedImages) -> Iterator[Concern]:
    """Yield the images that cannot be read, or are not what their name says."""
    found = images.dataset.images
    if len(images.broken) == len(found):
        yield Concern("nothing_readable")
    for index, inspection in sorted(images.broken.items()):
        is_oversized = inspection.is_oversized or found[index].size > MAX_BYTES
        kind = "oversized" if is_oversized else "unreadable"
        yield images.concern(kind, [index], inspection.error or "")
    for index, name in sorted(images.misnamed.items()):
        yield images.concern("wrong_endings", [index], f"is {name}")


def _find_copies(images: InspectedImages) -> Iterator[Concern]:
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


def _find_untaught_labels(images: InspectedImages) -> Iterator[Concern]:
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
