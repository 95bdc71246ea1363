"""What the content of the images of a data set tells, once each has been looked at."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from orchestrator.dataset.concerns import Concern, labels_of, sight
from orchestrator.dataset.scan import FoundImage
from orchestrator.dataset.split import TESTING, TRAINING, VALIDATION
from workers.images.files import MAX_BYTES, has_ending_of
from workers.images.inspection import Inspection


@dataclass
class SeenImages:
    """The images of a data set, and beside each what is known of it.

    Attributes:
        splits: None for an image that is in none.
        digests: SHA-256 of each that can be read; None also where it was not looked at.
        broken: Place of each image that cannot be read.
        misnamed: Place of each whose ending is another format's, and its own format.
    """

    images: list[FoundImage]
    is_multi_label: bool
    splits: list[str | None]
    digests: list[bytes | None] = field(default_factory=list)
    broken: dict[int, Inspection] = field(default_factory=dict)
    misnamed: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.digests = [None] * len(self.images)

    def add(self, place: int, found: Inspection) -> None:
        """Take in what an inspection of the image at a place has found."""
        if found.error is not None:
            self.broken[place] = found
            return
        self.digests[place] = bytes.fromhex(found.digest) if found.digest else None
        if found.format and not has_ending_of(self.images[place].path, found.format):
            self.misnamed[place] = found.format

    def concern(self, kind: str, places: Iterable[int], reason: str = "") -> Concern:
        """Return a concern about images at some places."""
        files = (sight(self.images[n], self.is_multi_label, self.splits[n]) for n in places)
        return Concern(kind, reason, files=tuple(files))

    def labels(self, place: int) -> tuple[str, ...]:
        return labels_of(self.images[place], self.is_multi_label)


def judge_images(seen: SeenImages) -> Iterator[Concern]:
    """Yield the images that cannot be read, and those that are not what their name says."""
    if len(seen.broken) == len(seen.images):
        yield Concern("nothing_readable")
    for place, found in sorted(seen.broken.items()):
        is_oversized = found.is_oversized or seen.images[place].size > MAX_BYTES
        kind = "oversized" if is_oversized else "unreadable"
        yield seen.concern(kind, [place], found.error or "")
    for place, name in sorted(seen.misnamed.items()):
        yield seen.concern("wrong_endings", [place], f"is {name}")


def find_copies(seen: SeenImages) -> Iterator[Concern]:
    """Yield the photographs that are there several times, byte for byte."""
    digests = seen.digests
    read = [place for place, digest in enumerate(digests) if digest is not None]
    # Places of one content stay in order, since sorting is stable.
    read.sort(key=lambda place: digests[place] or b"")
    groups = [list(group) for _, group in groupby(read, key=digests.__getitem__)]
    for places in sorted(group for group in groups if len(group) > 1):
        if len({seen.images[place].label for place in places} - {None}) > 1:
            kind = "two_labels"
        elif len({seen.splits[place] for place in places} - {None}) > 1:
            kind = "two_splits"
        else:
            kind = "copies"
        yield seen.concern(kind, places)


def find_untaught_labels(seen: SeenImages) -> Iterator[Concern]:
    """Yield the labels for which the trainer would find no image (`bottlenecks.gathering`)."""
    left: dict[str, int] = defaultdict(int)
    held_out: set[bytes] = set()
    for split in (TESTING, VALIDATION, TRAINING):
        own: set[bytes] = set()
        for place, name in enumerate(seen.splits):
            digest = seen.digests[place]
            if name != split:
                continue
            is_used = place not in seen.broken and digest not in held_out
            if is_used and digest is not None:
                own.add(digest)
            for label in seen.labels(place):
                left[label] += is_used and split == TRAINING
        held_out |= own
    for label, count in sorted(left.items()):
        if not count:
            yield Concern("untaught_labels", labels=(label,))
