"""Which images are held out: decided by each image's own name, so that it never changes.

The idea is that of the codelab's retrain.py: hash the name instead of drawing at random.
Unlike there, the name is the path below the label's folder, so moving the data set or
renaming the label changes nothing, and no split of a label is ever empty.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.dataset.label_file import list_some
from workers.errors import RunError, SmallLabelsError, UsageError
from workers.storage.layout import Storage
from workers.storage.names import shared_name
from workers.storage.plan import TrainingOptions, list_runs, read_plan

TRAINING, VALIDATION, TESTING = "training", "validation", "testing"


@dataclass(frozen=True)
class Shares:
    """Percentages held out, and the seed that salts the hash."""

    testing: float
    validation: float
    seed: int = 0

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


def check_shares(options: TrainingOptions) -> None:
    """Refuse percentages that leave too little for training (UsageError)."""
    testing, validation = options.testing_percentage, options.validation_percentage
    # Phrased so that NaN is refused.
    if not (testing >= 0 and validation >= 0 and testing + validation <= 90):
        raise UsageError(
            "The testing and validation percentages must not be negative, nor add up to more "
            f"than 90; they are {testing:g} and {validation:g}."
        )


def split_images(
    images: Iterable[tuple[str, str]], shares: Shares, earlier: Mapping[str, str] | None = None
) -> Split:
    """Assign each image to training, validation or testing.

    Images whose names differ only after ``_nohash_`` stay together.

    Args:
        images: (label, path below the label's folder) of each.
        earlier: Exceptions of earlier runs; those for unknown names are ignored.

    Raises:
        SmallLabelsError: When a label has too few images for every split.
    """
    keys: list[str] = []
    groups: dict[str, set[str]] = defaultdict(set)
    for label, name in images:
        keys.append(_key(label, name))
        groups[label].add(keys[-1])
    small = {
        label: len(group) for label, group in groups.items() if len(group) < len(shares.needed)
    }
    if small:
        raise SmallLabelsError(_describe(small, shares), dict(sorted(small.items())))

    assigned: dict[str, str] = {}
    exceptions: dict[str, str] = {}
    for label in sorted(groups):
        _assign(groups.pop(label), shares, earlier or {}, assigned, exceptions)
    return Split([assigned[key] for key in keys], exceptions)


def _describe(small: Mapping[str, int], shares: Shares) -> str:
    listed = list_some([f"{label!r} has {count}" for label, count in sorted(small.items())])
    return (
        f"Each label needs at least {len(shares.needed)} images, one each for "
        f"{', '.join(shares.needed)}: {listed}. Add images, remove the folder, or "
        "set a percentage to 0. (Results begin to be useful at about 20 images a label.)"
    )


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
    return f"{label}/{shared_name(name)}"


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
            continue  # `poets runs` reports damaged plans
        for key, split in (training.split_exceptions if training else {}).items():
            exceptions.setdefault(key, split)
    return exceptions
