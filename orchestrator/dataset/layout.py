"""What the folders of a data set mean: labels alone, or splits and labels."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from orchestrator.dataset.label_file import name_some
from orchestrator.dataset.scan import FoundImage
from orchestrator.dataset.split import TESTING, TRAINING, VALIDATION
from workers.errors import AmbiguousSplitsError, DatasetError

# What one may ask for: see `find_layout`.
AUTO, FOLDERS, HASH = "auto", "folders", "hash"
# The meaning of "dev" and "eval" is that of the Hugging Face library datasets.
_NAMES = {
    TRAINING: ("train", "training", "trn"),
    VALIDATION: ("val", "valid", "validation", "validate", "dev", "devel", "development"),
    TESTING: ("test", "testing", "tst", "eval", "evaluation", "holdout", "heldout"),
}
_SPLITS = {name: split for split, names in _NAMES.items() for name in names}
_ENDING = re.compile(r"(set|data|dataset|images|imgs|split)$")


def find_split(folder: str) -> str | None:
    """Return the split that a folder is named as: ``Train``, ``val2017``, ``test_set``."""
    name = re.sub(r"[\W\d_]+", "", folder.casefold())
    return _SPLITS.get(name) or _SPLITS.get(_ENDING.sub("", name))


class Place(NamedTuple):
    """Where an image is in a layout.

    Attributes:
        label, split: None where the layout names none.
        name: The path below the folders that name label and split.
    """

    label: str | None
    split: str | None
    name: str


@dataclass(frozen=True)
class Layout:
    """Which folders of a path name the label and the split, counted from 0.

    Attributes:
        label_at: None when a file gives the labels.
        split_at: None when no folder names the split.
    """

    label_at: int | None = 0
    split_at: int | None = None
    _known: dict[str, tuple[str | None, str | None, int]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def has_splits(self) -> bool:
        return self.split_at is not None

    def place(self, path: str) -> Place:
        """Return the place of an image; one that is in no split's folder has no label either."""
        folder = path.rpartition("/")[0]
        # There are few folders and many images.
        if folder not in self._known:
            self._known[folder] = self._place_folder(folder)
        label, split, start = self._known[folder]
        return Place(label, split, path[start:])

    def _place_folder(self, folder: str) -> tuple[str | None, str | None, int]:
        """Return the label and split of the images in a folder, and where their names start."""
        parts = folder.split("/") if folder else []
        depth = max(-1 if at is None else at for at in (self.label_at, self.split_at)) + 1
        if len(parts) < depth:
            return None, None, 0
        start = sum(len(part) + 1 for part in parts[:depth])
        split = None if self.split_at is None else find_split(parts[self.split_at])
        if self.label_at is None or (self.has_splits and split is None):
            return None, split, start
        return parts[self.label_at], split, start

    def label(self, images: list[FoundImage]) -> list[FoundImage]:
        """Return the images with the labels of this layout; without one what has no split."""
        if not self.has_splits:
            return images
        return [replace(image, label=self._label_of(image)) for image in images]

    def _label_of(self, image: FoundImage) -> str | None:
        place = self.place(image.path)
        return image.label if self.label_at is None and place.split else place.label


@dataclass(frozen=True)
class FoundLayout:
    """A layout, what a person should know about it, and why it cannot be used if it cannot."""

    layout: Layout
    remarks: tuple[str, ...] = ()
    refusal: DatasetError | None = None


def count_folders(images: Iterable[FoundImage]) -> Counter[tuple[str, ...]]:
    """Return how many images each folder holds itself, by the names in its path."""
    counts = Counter(image.path.rpartition("/")[0] for image in images)
    return Counter({tuple(path.split("/") if path else ()): n for path, n in counts.items()})


def find_layout(
    root: str, folders: Counter[tuple[str, ...]], wanted: str, has_label_file: bool
) -> FoundLayout:
    """Return what the folders of a data set mean.

    Args:
        folders: See `count_folders`; with a label file, of the images that it names.
        wanted: HASH for labels alone; FOLDERS for splits, whatever else there is; AUTO for
            splits where nothing else could be meant, and a refusal where it could.
    """
    tree = _Tree(root, folders)
    if has_label_file:
        return _under_label_file(tree, wanted)
    if wanted == FOLDERS:
        return _as_asked(tree)
    if wanted == HASH:
        return FoundLayout(Layout(), tuple(tree.say_splits_are_labels()))
    if tree.is_by_split:
        return FoundLayout(tree.by_split)
    if tree.kinds >= {TRAINING} and len(tree.kinds) > 1 and tree.nested:
        return FoundLayout(Layout(), refusal=tree.ambiguity())
    if tree.is_by_label:
        return FoundLayout(Layout(label_at=0, split_at=1))
    return FoundLayout(Layout(), tuple(tree.say_splits_are_not_used()))


def _under_label_file(tree: "_Tree", wanted: str) -> FoundLayout:
    layout = Layout(label_at=None, split_at=0)
    is_whole = not tree.others and not tree.loose and len(tree.kinds) > 1
    if TRAINING in tree.kinds and (wanted == FOLDERS or (wanted == AUTO and is_whole)):
        return FoundLayout(layout)
    plain = Layout(label_at=None)
    return FoundLayout(plain, refusal=tree.no_splits() if wanted == FOLDERS else None)


def _as_asked(tree: "_Tree") -> FoundLayout:
    if any(tree.splits[top] == TRAINING for top in tree.nested):
        return FoundLayout(tree.by_split)
    if TRAINING in tree.kinds_below:
        return FoundLayout(Layout(label_at=0, split_at=1))
    return FoundLayout(Layout(), refusal=tree.no_splits())


class _Tree:
    """The upper folders of a data set that hold images.

    Attributes:
        splits: The split of each top folder that is named as one.
        others: The other top folders.
        nested, flat: Top folders named as splits that hold folders, and images themselves.
        loose: Images in no folder.
    """

    def __init__(self, root: str, folders: Counter[tuple[str, ...]]) -> None:
        self.root = root
        self.folders = folders
        tops = sorted({folders[0] for folders in self.folders if folders})
        self.splits = {top: split for top in tops if (split := find_split(top))}
        self.others = [top for top in tops if top not in self.splits]
        self.nested = sorted({found[0] for found in self._below_splits(2)})
        self.flat = [top for top in self.splits if (top,) in self.folders]
        self.loose = self.folders[()]
        self.kinds = set(self.splits.values())
        self.kinds_below = {split for _, split in self._splits_below_labels() if split}

    def _below_splits(self, depth: int) -> Iterator[tuple[str, ...]]:
        return (
            folders
            for folders in self.folders
            if len(folders) >= depth and folders[0] in self.splits
        )

    def _splits_below_labels(self) -> Iterator[tuple[tuple[str, ...], str | None]]:
        for folders in self.folders:
            if folders:
                yield folders, find_split(folders[1]) if len(folders) > 1 else None

    @property
    def is_by_split(self) -> bool:
        """Whether all top folders can only be splits: ``train/daisy``."""
        is_clear = len(self.kinds) > 1 or len(self.splits) == 1
        return TRAINING in self.kinds and is_clear and not self.others and not self.flat

    @property
    def by_split(self) -> Layout:
        # Such as training_set/training_set/cats, as archives are unpacked.
        is_doubled = all(
            len(folders) > 2 and find_split(folders[1]) == self.splits[folders[0]]
            for folders in self._below_splits(2)
        )
        return Layout(label_at=2 if is_doubled else 1, split_at=0)

    @property
    def is_by_label(self) -> bool:
        """Whether all images are in folders of splits below the labels: ``daisy/train``."""
        is_clear = TRAINING in self.kinds_below and len(self.kinds_below) > 1
        return is_clear and all(split for _, split in self._splits_below_labels())

    def ambiguity(self) -> DatasetError:
        why = [f"images lie directly in {_list(self.flat)}"] if self.flat else []
        why += [f"{_list(self.others)} is not"] if len(self.others) == 1 else []
        why += [f"{_list(self.others)} are not"] if len(self.others) > 1 else []
        return AmbiguousSplitsError(
            f"The folders {_list(self.splits)} in {self.root} are named as splits, but "
            f"{' and '.join(why)}, so they may be splits or labels."
        )

    def no_splits(self) -> DatasetError:
        return DatasetError(
            f"No folder in {self.root} is named as the training split and holds labelled images. "
            "Call it train, and those of the other splits val and test."
        )

    def say_splits_are_labels(self) -> Iterator[str]:
        if self.is_by_split and len(self.splits) > 1:
            yield (
                f"The folders {_list(self.splits)} are named as splits and hold folders, but they "
                "are taken for labels."
            )

    def say_splits_are_not_used(self) -> Iterator[str]:
        if len(self.kinds) > 1 and not self.others:
            yield f"The folders {_list(self.splits)} are named as splits, but are taken for labels."
        elif TRAINING in self.kinds_below and len(self.kinds_below) > 1:
            found = list(self._splits_below_labels())
            named = ["/".join(folders[:2]) for folders, split in found if split]
            beside = sum(self.folders[folders] for folders, split in found if not split)
            yield (
                f"Folders below the labels are named as splits ({_list(sorted(set(named)))}), but "
                f"not used as such, since {beside:,} images lie elsewhere in the labels."
            )


def _list(names: Collection[str]) -> str:
    return name_some(list(names))
