"""Who is held out: decided by each image's own name, so that it never changes.

The idea is that of the codelab's retrain.py: hash the name, not a random draw. Unlike
there, the name is the path below the label's folder, so moving the data set or the
label changes nothing, and no split of a label is ever empty.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workers.errors import DatasetError, RunError, UsageError
from workers.storage.layout import Storage
from workers.storage.plan import list_runs, read_plan

TRAINING, VALIDATION, TESTING = "training", "validation", "testing"


@dataclass(frozen=True)
class Shares:
    """Percentages held out, and the seed that salts the hash."""

    testing: float
    validation: float
    seed: int = 0

    def __post_init__(self) -> None:
        # Said this way round, so that NaN is refused.
        if not (
            self.testing >= 0 and self.validation >= 0 and self.testing + self.validation <= 90
        ):
            raise UsageError(
                "The testing and validation percentages must not be negative, and together "
                f"at most 90; they are {self.testing:g} and {self.validation:g}."
            )

    @property
    def needed(self) -> list[str]:
        """The splits that every label must have."""
        wanted = [TRAINING]
        wanted += [VALIDATION] if self.validation else []
        wanted += [TESTING] if self.testing else []
        return wanted


@dataclass(frozen=True)
class Split:
    """The split of each image, in the order given, and the exceptions made.

    Attributes:
        exceptions: Key -> split, for the few names that hashing alone would have put
            elsewhere, leaving a split empty. Hand them to the next run: an image held
            out once must stay so when more images are added. (Without memory no rule
            can keep small labels both never empty and stable.)
    """

    splits: list[str]
    exceptions: dict[str, str]


def split_images(
    images: Iterable[tuple[str, str]], shares: Shares, earlier: Mapping[str, str] | None = None
) -> Split:
    """Assign each image to training, validation or testing.

    Images whose names differ only after ``_nohash_`` stay together.

    Args:
        images: (label, path below the label's folder) of each.
        earlier: Exceptions of earlier runs; those for unknown names are ignored.

    Raises:
        DatasetError: When a label has too few images for every split.
    """
    keys: list[str] = []
    groups: dict[str, set[str]] = defaultdict(set)
    for label, name in images:
        keys.append(_key(label, name))
        groups[label].add(keys[-1])
    _check_counts(groups, shares)

    assigned: dict[str, str] = {}
    exceptions: dict[str, str] = {}
    for label in sorted(groups):
        _assign(groups.pop(label), shares, earlier or {}, assigned, exceptions)
    return Split([assigned[key] for key in keys], exceptions)


def count_small(images: Iterable[tuple[str, str]], shares: Shares) -> dict[str, int]:
    """Return the labels with too few images for every split, and how many those have.

    Args:
        images: As of `split_images`, which refuses such labels.
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for label, name in images:
        groups[label].add(_key(label, name))
    return _small(groups, shares)


def split_names(
    names: Iterable[str], shares: Shares, earlier: Mapping[str, str] | None = None
) -> Split:
    """Assign images to splits by their paths alone, as `split_images` those of one label.

    Raises:
        DatasetError: When there are too few for every split.
    """
    keys = [_key("", name) for name in names]
    if len(set(keys)) < len(shares.needed):
        raise DatasetError(
            f"{len(set(keys))} images are too few for {', '.join(shares.needed)}. Add images, or "
            "set a percentage to 0."
        )
    assigned: dict[str, str] = {}
    exceptions: dict[str, str] = {}
    _assign(set(keys), shares, earlier or {}, assigned, exceptions)
    return Split([assigned[key] for key in keys], exceptions)


def _check_counts(groups: Mapping[str, set[str]], shares: Shares) -> None:
    small = _small(groups, shares)
    if small:
        listed = ", ".join(f"{label!r} has {count}" for label, count in list(small.items())[:5])
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        raise DatasetError(
            f"Each label needs at least {len(shares.needed)} images, one each for "
            f"{', '.join(shares.needed)}: {listed}{more}. Add images, remove the folder, or "
            "set a percentage to 0. (20 or more a label is where results begin to be useful.)"
        )


def _small(groups: Mapping[str, set[str]], shares: Shares) -> dict[str, int]:
    counts = ((label, len(keys)) for label, keys in sorted(groups.items()))
    return {label: count for label, count in counts if count < len(shares.needed)}


def _assign(
    keys: set[str],
    shares: Shares,
    earlier: Mapping[str, str],
    assigned: dict[str, str],
    exceptions: dict[str, str],
) -> None:
    """Assign the images of one label."""
    position = {key: _position(key, shares.seed) for key in keys}
    members: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        exception = _exception_key(key, shares)
        split = earlier.get(exception) or _by_position(position[key], shares)
        if earlier.get(exception):
            exceptions[exception] = split
        members[split].add(key)
    for split in shares.needed:
        if members[split]:
            continue
        # From the largest split, so that nothing else becomes empty; the name nearest
        # to where this split begins, so that the choice is the name's own.
        donor = max(members, key=lambda name: (len(members[name]), name))
        chosen = min(members[donor], key=lambda key: (position[key], key))
        members[donor].remove(chosen)
        members[split].add(chosen)
        exceptions[_exception_key(chosen, shares)] = split
    for split, names in members.items():
        assigned.update(dict.fromkeys(names, split))


def _key(label: str, name: str) -> str:
    return f"{label}/{re.sub(r'_nohash_.*$', '', name)}"


def _position(key: str, seed: int) -> float:
    """Return 0 <= position < 100, uniform over names; the label plays no part."""
    name = key.split("/", 1)[1]
    digest = hashlib.sha1(f"{seed}/{name}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100


def _by_position(position: float, shares: Shares) -> str:
    if position < shares.testing:
        return TESTING
    return VALIDATION if position < shares.testing + shares.validation else TRAINING


def _exception_key(key: str, shares: Shares) -> str:
    # With other shares the image may have been a training image already.
    text = f"{shares.seed} {shares.testing:g} {shares.validation:g} {key}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def earlier_exceptions(storage: Storage) -> dict[str, str]:
    """Return the exceptions that earlier splits in a storage made."""
    exceptions: dict[str, str] = {}
    for folder in list_runs(storage.runs):
        try:
            training = read_plan(folder).training
        except RunError:
            continue  # a damaged plan is `poets runs`' business
        for key, split in (training.split_exceptions if training else {}).items():
            exceptions.setdefault(key, split)
    return exceptions
