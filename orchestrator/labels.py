"""The labels of a data set, and who is held out: one label an image, or any number of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from orchestrator.label_file import list_some
from orchestrator.scan import FoundImage
from orchestrator.split import (
    TESTING,
    TRAINING,
    VALIDATION,
    Shares,
    Split,
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
        earlier: Exceptions of earlier runs, see `orchestrator.split`.

    Raises:
        DatasetError: When there are too few images, or a label has none to learn from.
    """
    shares = Shares(options.testing_percentage, options.validation_percentage, options.seed)
    if options.multi_label:
        split = split_names((image.path for image in images), shares, earlier)
        return split, _check_splits(images, split, shares)
    named = ((image.label or "", image.path.split("/", 1)[1]) for image in images)
    return split_images(named, shares, earlier), []


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
