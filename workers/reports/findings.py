"""What looks wrong with a data set: labels that are probably wrong, and images that come twice.

Both lists are for a person to check; nothing is changed or left out because of them.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from workers.bottlenecks.gathering import SPLITS, Gathered
from workers.heads.fit import L2_WITHOUT_VALIDATION, Fit
from workers.heads.guesses import name_answer
from workers.heads.head import Examples
from workers.processes.heartbeat import Heartbeat
from workers.reports.duplicates import find_near_copies
from workers.reports.suspects import find_label_errors, guess_unseen
from workers.storage.label_sets import name_labels
from workers.storage.plan import TrainingOptions

# What a split is called in reports.
REPORTED = dict(zip(SPLITS, ("training", "validation", "test"), strict=True))


@dataclass(frozen=True, order=True)
class Sighting:
    """One image that a report mentions; `split` as reports name it."""

    path: str
    split: str
    label: str


@dataclass(frozen=True)
class Duplicate:
    """Two images with the same content, or nearly so, that differ in split or label.

    Attributes:
        similarity: Cosine of the centred bottlenecks; 1 for identical bytes.
    """

    image: Sighting
    other: Sighting
    similarity: float

    @property
    def is_contradiction(self) -> bool:
        return self.image.label != self.other.label


@dataclass(frozen=True)
class Suspect:
    """One image whose label is probably wrong; `score` from 0 to 1 ranks it."""

    image: Sighting
    suggested: str
    score: float
    reason: str


@dataclass(frozen=True)
class Findings:
    """Suspects and duplicates, most certain first.

    Attributes:
        is_complete: False when the set was too large to search for near-copies.
    """

    suspects: list[Suspect]
    duplicates: list[Duplicate]
    is_complete: bool


NOTHING_EXAMINED = Findings([], [], is_complete=False)


def examine_images(
    gathered: Gathered,
    labels: tuple[str, ...],
    fit: Fit,
    options: TrainingOptions,
    heartbeat: Heartbeat,
) -> Findings:
    """Return what looks wrong with the images that were gathered."""
    sight = partial(_sight, gathered, labels)
    exact = list(_exact_copies(gathered, labels))
    near = find_near_copies(_number_sets(gathered.examples), heartbeat)
    known = {frozenset((pair.image, pair.other)) for pair in exact}
    duplicates = exact + [
        Duplicate(image, other, copy.similarity)
        for copy in near or []
        if (image := sight(copy.split, copy.row))
        and (other := sight(copy.other_split, copy.other_row))
        and frozenset((image, other)) not in known
    ]
    errors = []
    # Confident learning is for one label an image.
    if not options.multi_label:
        strength = float(fit.details.get("l2", L2_WITHOUT_VALIDATION))
        guesses = guess_unseen(gathered.examples, len(labels), strength, options, heartbeat)
        for error in find_label_errors(guesses, len(labels)):
            image, suggested = sight(error.split, error.row), labels[error.suggested]
            reason = f"looks like {suggested!r} rather than {image.label!r}"
            errors.append(Suspect(image, suggested, round(error.score, 6), reason))
    ranked = sorted([*_contradictions(duplicates), *errors], key=lambda one: -one.score)
    by_image = {suspect.image: suspect for suspect in reversed(ranked)}
    suspects = [suspect for suspect in ranked if by_image[suspect.image] is suspect]
    return Findings(suspects, duplicates, near is not None)


def _number_sets(examples: dict[str, Examples]) -> dict[str, Examples]:
    """Return the examples with a number for each set of labels that occurs."""
    if all(part.labels.ndim == 1 for part in examples.values()):
        return examples
    numbers: dict[bytes, int] = {}
    return {
        split: replace(
            part,
            labels=np.array(
                [numbers.setdefault(row.tobytes(), len(numbers)) for row in part.labels], np.int64
            ),
        )
        for split, part in examples.items()
    }


def _sight(gathered: Gathered, labels: tuple[str, ...], split: str, row: int) -> Sighting:
    examples = gathered.examples[split]
    return Sighting(examples.paths[row], REPORTED[split], name_answer(examples.labels[row], labels))


def _exact_copies(gathered: Gathered, labels: tuple[str, ...]) -> Iterator[Duplicate]:
    """Yield each image with the first one of the same bytes that differs in split or label."""
    is_multi_label = gathered.examples["training"].labels.ndim == 2
    copied = [copy.digest for copy in gathered.copies]
    counts = Counter(itertools.chain(copied, *gathered.digests.values()))
    sightings: dict[bytes, list[Sighting]] = defaultdict(list)
    # Held-out images first: the others are copies of them.
    for split in reversed(SPLITS):
        for row, digest in enumerate(gathered.digests[split]):
            if digest is not None and counts[digest] > 1:
                sightings[digest].append(_sight(gathered, labels, split, row))
    for copy in gathered.copies:
        if copy.digest is not None:
            label = name_labels(copy.labels, labels, is_multi_label)
            image = Sighting(copy.path, REPORTED[copy.split], label)
            sightings[copy.digest].append(image)
    for group in sightings.values():
        for i, image in enumerate(group):
            for other in group[:i]:
                if (other.split, other.label) != (image.split, image.label):
                    yield Duplicate(image, other, 1.0)
                    break


def _contradictions(duplicates: list[Duplicate]) -> Iterator[Suspect]:
    for pair in duplicates:
        if pair.is_contradiction:
            likeness = "the very content" if pair.similarity == 1 else "nearly the content"
            for one in (pair, replace(pair, image=pair.other, other=pair.image)):
                reason = f"has {likeness} of {one.other.path!r}, which is {one.other.label!r}"
                yield Suspect(one.image, one.other.label, one.similarity, reason)
