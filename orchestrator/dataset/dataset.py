"""A folder of photographs as a run would use it: what `poets check` and a submit begin with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.dataset.label_file import apply_label_file, read_label_file
from orchestrator.dataset.labels import assign_splits, check_labels, count_labels
from orchestrator.dataset.scan import FoundImage, Scan, describe_no_images, scan_folder
from orchestrator.dataset.split import Split, earlier_exceptions
from orchestrator.progress import OnProgress, ignore
from workers.errors import DatasetError, SmallLabelsError
from workers.storage.layout import Storage
from workers.storage.plan import TrainingOptions


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
        """Raise the first refusal.

        Raises:
            DatasetError: With what is needed.
        """
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
