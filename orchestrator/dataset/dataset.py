"""A folder of photographs as a run would use it: its images, their labels and splits.

What `poets check` and a submit begin with.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.dataset.label_file import apply_label_file, name_some, read_label_file
from orchestrator.dataset.layout import AUTO, Layout, count_folders, find_layout, find_split
from orchestrator.dataset.links import refuse_lost_labels
from orchestrator.dataset.other_folder import find_dated_folder, refuse_labels
from orchestrator.dataset.scan import FoundImage, Scan, no_images, scan_folder
from orchestrator.dataset.split import (
    TESTING,
    TRAINING,
    VALIDATION,
    Shares,
    Split,
    earlier_exceptions,
    split_images,
)
from orchestrator.progress import OnProgress, ignore
from workers.errors import DatasetError, SmallLabelsError
from workers.storage.label_sets import split_labels
from workers.storage.layout import Storage
from workers.storage.plan import TrainingOptions

_CALLED = {VALIDATION: "validation", TESTING: "test"}


def labels_of(image: FoundImage, is_multi_label: bool) -> tuple[str, ...]:
    """Return the labels of an image: one, none, or any number."""
    if image.label is None:
        return ()
    return tuple(split_labels(image.label)) if is_multi_label else (image.label,)


def count_labels(images: Iterable[FoundImage], is_multi_label: bool) -> dict[str, int]:
    """Return how many images each label has, sorted by label."""
    # Sets of labels are few and images many.
    texts = Counter(image.label for image in images if image.label is not None)
    counts: Counter[str] = Counter()
    for text, count in texts.items():
        for label in split_labels(text) if is_multi_label else [text]:
            counts[label] += count
    return dict(sorted(counts.items()))


def find_alike_labels(labels: Iterable[str]) -> list[list[str]]:
    """Return groups of labels that differ only in case, Unicode form and spaces."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        groups[_simplify(label)].append(label)
    return [group for group in groups.values() if len(group) > 1]


def _simplify(label: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    # Between letters and digits only: "-1" is not "1", nor "C++" "C".
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", folded.strip())


def assign_splits(
    images: list[FoundImage],
    options: TrainingOptions,
    earlier: Mapping[str, str],
    layout: Layout,
) -> tuple[Split, list[str]]:
    """Return the split of each image, and warnings.

    Splits that folders name are those of the folders. The others are taken out of training by
    hashing. Of those, with one label an image, none of a label is empty. With several labels, no
    split as a whole is empty, but a rare label may be missing from one.

    Args:
        images: With a label each.
        earlier: Exceptions of earlier runs, see `orchestrator.dataset.split`.

    Raises:
        SmallLabelsError: When a label has too few images to learn from and to hold out.
        DatasetError: When there are too few images, or a label has none to learn from.
    """
    places = [layout.place(image.path) for image in images]
    given = [place.split or TRAINING for place in places]
    shares = _shares_beside(set(given), options)
    pool = [index for index, split in enumerate(given) if split == TRAINING]
    if options.multi_label:
        # By their paths alone, as if all had one label.
        named = [("", places[index].name) for index in pool]
    else:
        if layout.has_splits:
            _check_taught(images, pool)
        named = [(images[index].label or "", places[index].name) for index in pool]
    try:
        hashed = split_images(named, shares, earlier)
    except SmallLabelsError as error:
        if not options.multi_label:
            raise
        raise DatasetError(
            f"{error.counts['']} images are too few for {', '.join(shares.needed)}. Add images, "
            "or set a percentage to 0."
        ) from error
    for index, name in zip(pool, hashed.splits, strict=True):
        given[index] = name
    split = Split(given, hashed.exceptions)
    if not layout.has_splits and not options.multi_label:
        return split, []  # no split of a label is empty
    return split, _check_splits(images, split, options.multi_label)


def _shares_beside(given: Collection[str], options: TrainingOptions) -> Shares:
    """Return what is to be held out by hashing, beside what folders hold out."""
    return Shares(
        0 if TESTING in given else options.testing_percentage,
        0 if VALIDATION in given else options.validation_percentage,
        options.seed,
    )


def _check_taught(images: list[FoundImage], pool: list[int]) -> None:
    """Refuse labels that folders of splits hold out whole (SmallLabelsError)."""
    taught = {images[index].label for index in pool}
    untaught = sorted({image.label or "" for image in images} - taught)
    if untaught:
        raise SmallLabelsError(
            f"No training image has the label {name_some(untaught)}: only the folders of other "
            "splits hold it. Add training images, or remove it there.",
            dict.fromkeys(untaught, 0),
        )


def _check_splits(images: list[FoundImage], split: Split, is_multi_label: bool) -> list[str]:
    """Return warnings about labels that a split tells little about."""
    totals = Counter(split.splits)
    pairs = Counter(
        (image.label or "", name) for image, name in zip(images, split.splits, strict=True)
    )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for (text, name), count in pairs.items():
        for label in split_labels(text or "[]") if is_multi_label else [text]:
            counts[label][name] += count
    untaught = sorted(label for label in counts if not counts[label][TRAINING])
    if untaught:
        raise DatasetError(
            f"No training image has the label {name_some(untaught)}: those that do are held out. "
            "Add images with it, take it out of the label file, or try another seed."
        )
    warnings = []
    always = sorted(label for label in counts if counts[label][TRAINING] == totals[TRAINING])
    if always and is_multi_label:
        warnings.append(
            f"Every training image has the label {name_some(always)}, so nothing can be learnt "
            "about it. Add images without it."
        )
    for name in (VALIDATION, TESTING):
        absent = sorted(label for label in counts if totals[name] and not counts[label][name])
        if absent:
            warnings.append(
                f"No {_CALLED[name]} image has the label {name_some(absent)}, so its figures are "
                "missing there. Add images with it."
            )
    return warnings


@dataclass(frozen=True)
class Source:
    """Where a data set is, and how its folders are read.

    Attributes:
        label_file: CSV with the labels of each image; None when folders name them.
        splits: Whether folders name the splits; see `orchestrator.dataset.layout.find_layout`.
        follows_links: Whether links to files and folders are followed.
    """

    folder: Path
    label_file: Path | None = None
    splits: str = AUTO
    follows_links: bool = False


@dataclass(frozen=True)
class Dataset:
    """The images of a folder, their labels and splits.

    Attributes:
        images: All that were found, those without a label too.
        labels: Images of each label, sorted by label.
        splits: The split of each image; None for one without a label, or whose label is
            refused.
        exceptions: See `Split`.
        refusals: Why no run can be made of it.
        remarks: What a person should know about labels and splits, sentences.
        layout: What the folders mean.
        other_folder: One that may have been meant instead.
    """

    scan: Scan
    images: list[FoundImage]
    is_multi_label: bool
    labels: dict[str, int]
    splits: list[str | None]
    exceptions: dict[str, str]
    refusals: list[DatasetError]
    remarks: list[str]
    layout: Layout
    other_folder: str | None = None

    @property
    def split_counts(self) -> dict[str, int]:
        """Images of each split."""
        counts = Counter(self.splits)
        return {split: counts[split] for split in (TRAINING, VALIDATION, TESTING)}

    @property
    def split_folders(self) -> dict[str, str]:
        """The split of each folder that names one, by its name (see `Layout`)."""
        at = self.layout.split_at
        if at is None:
            return {}
        names = {image.path.split("/")[at] for image in self.images if image.label is not None}
        return {name: split for name in sorted(names) if (split := find_split(name))}

    @property
    def given_splits(self) -> tuple[str, ...]:
        """The splits that folders name."""
        found = set(self.split_folders.values())
        return tuple(split for split in (TRAINING, VALIDATION, TESTING) if split in found)

    @property
    def small_labels(self) -> dict[str, int]:
        """Labels that are refused for having too few images, and how many each has."""
        small = (error.counts for error in self.refusals if isinstance(error, SmallLabelsError))
        return next(small, {})

    def check_usable(self) -> None:
        """Raise the first refusal."""
        if self.refusals:
            raise self.refusals[0]


def open_dataset(
    storage: Storage, source: Source, options: TrainingOptions, on_progress: OnProgress = ignore
) -> Dataset:
    """Return the data set of a source; no image is opened.

    Args:
        storage: Its earlier runs say which images must stay held out.
        options: Those of the split count.

    Raises:
        DatasetError: When the folder or the label file cannot be read, or there is no image.
            All else that a run could not use is in `refusals`.
    """
    table = read_label_file(source.label_file) if source.label_file else None
    scan = scan_folder(source.folder, on_progress, source.follows_links)
    remarks = apply_label_file(scan, table) if table else []
    options = replace(options, multi_label=table is not None)
    return build_dataset(scan, options, earlier_exceptions(storage), remarks, source.splits)


def build_dataset(
    scan: Scan,
    options: TrainingOptions,
    earlier: Mapping[str, str],
    remarks: list[str],
    splits: str = AUTO,
) -> Dataset:
    """Return the data set of images that were found and labelled; see `open_dataset`.

    Args:
        earlier: Exceptions of earlier splits.
        remarks: What is known about the labels.
        splits: See `Source`.
    """
    images = list(scan.images)
    if not images:
        raise no_images(scan)
    folders = count_folders(images)
    found = find_layout(scan.root, folders, splits, options.multi_label)
    images = found.layout.label(images)
    labels = count_labels(images, options.multi_label)
    lost = refuse_lost_labels(scan, found.layout, folders)
    refusals = [refusal for refusal in (lost, found.refusal) if refusal]
    if refusal := refuse_labels(scan.root, images, labels, options.multi_label):
        refusals.append(refusal)
    other, dated = find_dated_folder(scan.root, folders, found.layout)
    labelled = [image for image in images if image.label is not None]
    kept, split, more = _split(labelled, options, earlier, found.layout, refusals)
    texts = {image.label for image in kept}
    names = iter(split.splits)
    return Dataset(
        scan,
        images,
        options.multi_label,
        labels,
        [next(names) if image.label in texts else None for image in images],
        split.exceptions,
        refusals,
        [*remarks, *found.remarks, *dated, *more],
        found.layout,
        other,
    )


def _split(
    images: list[FoundImage],
    options: TrainingOptions,
    earlier: Mapping[str, str],
    layout: Layout,
    refusals: list[DatasetError],
) -> tuple[list[FoundImage], Split, list[str]]:
    """Split the images; if labels are too small, those of the other labels.

    Returns:
        The images that were split, their split, and remarks.
    """
    while images:
        try:
            return images, *assign_splits(images, options, earlier, layout)
        except SmallLabelsError as error:
            refusals.append(error)
            images = [image for image in images if image.label not in error.counts]
        except DatasetError as error:
            refusals.append(error)
            break
    return [], Split([], {}), []
