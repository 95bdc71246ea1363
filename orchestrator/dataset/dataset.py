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
from orchestrator.dataset.scan import FoundImage, Scan, describe_no_images, scan_folder
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


def check_labels(scan: Scan, labels: Collection[str], is_multi_label: bool) -> None:
    """Refuse a folder whose labels cannot give a classifier (DatasetError)."""
    if is_multi_label:
        if not labels:
            raise DatasetError("The label file gives no image any label. Fill it in.")
        return
    if not labels:
        raise DatasetError(
            f"The images lie directly in {scan.root}. Make one folder for each label below it "
            f"({scan.root}/daisy, {scan.root}/roses, ...)."
        )
    if len(labels) == 1:
        raise DatasetError(
            f"There is only one label, {next(iter(labels))!r}, in {scan.root}. A classifier needs "
            "at least two: add a folder with other images."
        )


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
    images: list[FoundImage], options: TrainingOptions, earlier: Mapping[str, str]
) -> tuple[Split, list[str]]:
    """Return the split of each image, and warnings.

    With one label an image, no split of a label is empty. With several, no split as a whole
    is empty, but a rare label may be missing from one.

    Args:
        images: With a label each.
        earlier: Exceptions of earlier runs, see `orchestrator.dataset.split`.

    Raises:
        SmallLabelsError: When a label has fewer images than there are splits.
        DatasetError: When there are too few images, or a label has none to learn from.
    """
    shares = Shares(options.testing_percentage, options.validation_percentage, options.seed)
    if not options.multi_label:
        named = ((image.label or "", image.path.split("/", 1)[1]) for image in images)
        return split_images(named, shares, earlier), []
    try:
        # By their paths alone, as if all had one label.
        split = split_images((("", image.path) for image in images), shares, earlier)
    except SmallLabelsError as error:
        raise DatasetError(
            f"{error.counts['']} images are too few for {', '.join(shares.needed)}. Add images, "
            "or set a percentage to 0."
        ) from error
    return split, _check_splits(images, split, shares)


def _check_splits(images: list[FoundImage], split: Split, shares: Shares) -> list[str]:
    """Return warnings about labels that a split tells little about."""
    totals = Counter(split.splits)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for image, name in zip(images, split.splits, strict=True):
        for label in split_labels(image.label or "[]"):
            counts[label][name] += 1
    untaught = sorted(label for label in counts if not counts[label][TRAINING])
    if untaught:
        raise DatasetError(
            f"No training image has the label {name_some(untaught)}: those that do are held out. "
            "Add images with it, take it out of the label file, or try another --seed."
        )
    warnings = []
    always = sorted(label for label in counts if counts[label][TRAINING] == totals[TRAINING])
    if always:
        warnings.append(
            f"Every training image has the label {name_some(always)}, so nothing can be learnt "
            "about it. Add images without it."
        )
    for name in shares.needed[1:]:
        absent = sorted(label for label in counts if not counts[label][name])
        if absent:
            warnings.append(
                f"No {_CALLED[name]} image has the label {name_some(absent)}, so its figures are "
                "missing there. Add images with it."
            )
    return warnings


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
    """

    scan: Scan
    images: list[FoundImage]
    is_multi_label: bool
    labels: dict[str, int]
    splits: list[str | None]
    exceptions: dict[str, str]
    refusals: list[DatasetError]
    remarks: list[str]

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
    storage: Storage,
    folder: Path,
    options: TrainingOptions,
    label_file: Path | None = None,
    on_progress: OnProgress = ignore,
) -> Dataset:
    """Return the data set in a folder; no image is opened.

    Args:
        storage: Its earlier runs say which images must stay held out.
        options: Those of the split count.
        label_file: CSV with the labels of each image; None when its folder is its label.

    Raises:
        DatasetError: When the folder or the label file cannot be read, or there is no image.
            All else that a run could not use is in `refusals`.
    """
    table = read_label_file(label_file) if label_file else None
    scan = scan_folder(folder, on_progress)
    remarks = apply_label_file(scan, table) if table else []
    options = replace(options, multi_label=table is not None)
    return build_dataset(scan, options, earlier_exceptions(storage), remarks)


def build_dataset(
    scan: Scan, options: TrainingOptions, earlier: Mapping[str, str], remarks: list[str]
) -> Dataset:
    """Return the data set of images that were found and labelled; see `open_dataset`.

    Args:
        earlier: Exceptions of earlier splits.
        remarks: What is known about the labels.
    """
    images = list(scan.images)
    if not images:
        raise DatasetError(describe_no_images(scan))
    labels = count_labels(images, options.multi_label)
    refusals: list[DatasetError] = []
    try:
        check_labels(scan, labels, options.multi_label)
    except DatasetError as error:
        refusals.append(error)
    labelled = [image for image in images if image.label is not None]
    kept, split, more = _split(labelled, options, earlier, refusals)
    texts = {image.label for image in kept}
    names = iter(split.splits)
    splits = [next(names) if image.label in texts else None for image in images]
    return Dataset(
        scan, images, options.multi_label, labels, splits, split.exceptions, refusals,
        remarks + more,
    )  # fmt: skip


def _split(
    images: list[FoundImage],
    options: TrainingOptions,
    earlier: Mapping[str, str],
    refusals: list[DatasetError],
) -> tuple[list[FoundImage], Split, list[str]]:
    """Split the images; if labels are too small, those of the other labels.

    Returns:
        The images that were split, their split, and remarks.
    """
    while images:
        try:
            return images, *assign_splits(images, options, earlier)
        except SmallLabelsError as error:
            refusals.append(error)
            images = [image for image in images if image.label not in error.counts]
        except DatasetError as error:
            refusals.append(error)
            break
    return [], Split([], {}), []
