"""The labels of a data set, and who is held out: one label an image, or any number of them."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from orchestrator.dataset.label_file import list_some
from orchestrator.dataset.scan import FoundImage, Scan
from orchestrator.dataset.split import (
    TESTING,
    TRAINING,
    VALIDATION,
    Shares,
    Split,
    count_small,
    split_images,
    split_names,
)
from workers.errors import DatasetError
from workers.storage.label_sets import split_labels
from workers.storage.plan import TrainingOptions

_CALLED = {VALIDATION: "validation", TESTING: "test"}


def list_labels(images: Iterable[FoundImage], is_multi_label: bool) -> list[str]:
    """Return the labels that there are, sorted."""
    texts = {image.label for image in images if image.label is not None}
    if is_multi_label:
        texts = {label for text in texts for label in split_labels(text)}
    return sorted(texts)


def assign_splits(
    images: list[FoundImage], options: TrainingOptions, earlier: Mapping[str, str]
) -> tuple[Split, list[str]]:
    """Return who is held out, and warnings.

    With one label an image no split of a label is empty; with several no split as a whole is,
    but a rare label may be absent from one.

    Args:
        earlier: Exceptions of earlier runs, see `orchestrator.dataset.split`.

    Raises:
        DatasetError: When there are too few images, or a label has none to learn from.
    """
    shares = _shares(options)
    if options.multi_label:
        split = split_names((image.path for image in images), shares, earlier)
        return split, _check_splits(images, split, shares)
    return split_images(_named(images), shares, earlier), []


def find_small_labels(images: Iterable[FoundImage], options: TrainingOptions) -> dict[str, int]:
    """Return the labels that have fewer images than splits, which `assign_splits` refuses.

    With several labels an image there are none: the images are split as a whole.
    """
    return {} if options.multi_label else count_small(_named(images), _shares(options))


def find_alike_labels(labels: Iterable[str]) -> list[list[str]]:
    """Return the labels that look like one: equal but for case, Unicode form and spaces."""
    groups: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        groups[_simplify(label)].append(label)
    return [group for group in groups.values() if len(group) > 1]


def _simplify(label: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    # Between letters and digits only: "-1" is not "1", nor "C++" "C".
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", folded.strip())


def _shares(options: TrainingOptions) -> Shares:
    return Shares(options.testing_percentage, options.validation_percentage, options.seed)


def _named(images: Iterable[FoundImage]) -> Iterator[tuple[str, str]]:
    return ((image.label or "", image.path.split("/", 1)[1]) for image in images)


def _check_splits(images: list[FoundImage], split: Split, shares: Shares) -> list[str]:
    """Return warnings of labels that a split hardly tells anything of."""
    totals = Counter(split.splits)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for image, name in zip(images, split.splits, strict=True):
        for label in split_labels(image.label or "[]"):
            counts[label][name] += 1
    untaught = sorted(label for label in counts if not counts[label][TRAINING])
    if untaught:
        raise DatasetError(
            f"No training image has the label {list_some(untaught)}: those that do are held out. "
            "Add images with it, take it out of the label file, or try another --seed."
        )
    warnings = []
    always = sorted(label for label in counts if counts[label][TRAINING] == totals[TRAINING])
    if always:
        warnings.append(
            f"Every training image has the label {list_some(always)}, so nothing can be learnt "
            "about it. Add images without it."
        )
    for name in shares.needed[1:]:
        absent = sorted(label for label in counts if not counts[label][name])
        if absent:
            warnings.append(
                f"No {_CALLED[name]} image has the label {list_some(absent)}, so its figures are "
                "missing there. Add images with it."
            )
    return warnings


def check_labels(scan: Scan, labels: list[str], is_multi_label: bool) -> None:
    """Refuse a folder that cannot give a classifier.

    Raises:
        DatasetError: With what is needed.
    """
    if not labels and not scan.images:
        raise DatasetError(no_images(scan))
    if is_multi_label:
        if not labels:
            raise DatasetError("The label file gives no image any label. Fill it in.")
        return
    if not labels:
        raise DatasetError(
            f"The images lie directly in {scan.root}. Make one folder a label below it "
            f"({scan.root}/daisy, {scan.root}/roses, ...)."
        )
    if len(labels) == 1:
        raise DatasetError(
            f"There is only one label, {labels[0]!r}, in {scan.root}. A classifier needs at "
            "least two: add a folder with other images."
        )


def no_images(scan: Scan) -> str:
    other = f" {scan.ignored_text} other files were ignored." if scan.ignored else ""
    return f"There are no images in {scan.root}.{other} Give the folder that holds them."
