"""The images of a run that could not be read, and copies of them for a person to look at."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.progress import OnProgress, Progress, counted
from workers.bottlenecks.batches import file_path, read_results
from workers.errors import ImageError, RefusedError, ShardError
from workers.images.files import open_regular
from workers.storage.atomic import put_new, storage_errors
from workers.storage.csv_files import csv_bytes
from workers.storage.layout import RunFolder
from workers.storage.manifest import find_labels, read_batches
from workers.storage.names import check_utf8, decode_name
from workers.storage.plan import Plan, Run
from workers.storage.predictions import read_predictions
from workers.storage.regular_files import open_regular_file
from workers.storage.temporary import remove_abandoned, temporary_beside


@dataclass(frozen=True)
class BadImage:
    """One image that could not be read.

    Attributes:
        path: Relative to the folder of the run, as `encode_name` writes it.
        label: As in the manifest; None in a labelling job.
    """

    path: str
    label: str | None
    reason: str


def find_bad_images(run: Run) -> Iterator[BadImage]:
    """Yield each bad image of a run once, in the order of the manifest.

    For a run without a result, these are the ones known so far.

    Raises:
        StorageError: When the storage refuses.
    """
    if run.plan.labelling:
        return _from_predictions(run)
    report = run.folder.model / "quarantine.csv"
    return _from_model(run.folder, report) if report.exists() else _from_shards(run)


def _from_predictions(run: Run) -> Iterator[BadImage]:
    for batch in range(run.plan.batches):
        try:
            table = read_predictions(run.folder.prediction_shard(batch), ["path", "error"])
        except ShardError:
            continue  # not there yet, or damaged, which counts as missing
        for path, error in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if error is not None:
                yield BadImage(path, None, error)


def _from_model(folder: RunFolder, report: Path) -> Iterator[BadImage]:
    with io.TextIOWrapper(open_regular_file(report), "utf-8", newline="") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    labels = find_labels(folder, list(reasons)) if reasons else {}
    for path, reason in reasons.items():
        yield BadImage(path, labels.get(path), reason)


def _from_shards(run: Run) -> Iterator[BadImage]:
    last = ""
    for batch in read_batches(run.folder):
        for image, result in zip(batch.images, read_results(run, batch), strict=True):
            # An image and its variants are adjacent, and fail together.
            if result is not None and result.error is not None and image.path != last:
                last = image.path
                yield BadImage(image.path, image.label, result.error)


LIST_NAME = "quarantine.csv"
COPIED, ALREADY_THERE = "copied", "already there"
_READ_BYTES = 1024**2


def check_target(plan: Plan, target: Path) -> None:
    """Refuse a folder that the images of a run cannot be copied to (RefusedError)."""
    check_utf8(str(target))
    if target.exists() and not target.is_dir():
        raise RefusedError(f"{target} is a file. Give a folder to copy the images to.")
    root = os.path.realpath(decode_name(plan.root))
    if Path(os.path.realpath(target)).is_relative_to(root):
        raise RefusedError(
            f"{target} is inside the data set {plan.root}, and would become part of it. "
            "Give a folder elsewhere."
        )
    if (target / LIST_NAME).exists():
        raise RefusedError(
            f"{target / LIST_NAME} exists already and is not overwritten. Give another folder."
        )


def copy_images(
    plan: Plan, images: Iterable[BadImage], target: Path, on_progress: OnProgress
) -> list[str]:
    """Copy each image to its path below `target`, then write quarantine.csv there.

    Returns:
        For each image "copied", "already there", or why it was not copied.

    Raises:
        StorageError: When `target` cannot be written. The same call continues from there.
    """
    images = list(images)
    outcomes = [
        _copy(plan, image, target)
        for image in counted(images, lambda n: on_progress(Progress("copying", n, len(images))))
    ]
    rows = (
        (image.path, image.label, image.reason, outcome)
        for image, outcome in zip(images, outcomes, strict=True)
    )
    content = csv_bytes(("path", "label", "reason", "copy"), rows)
    _put(target / LIST_NAME, lambda file: file.write(content))
    for folder in {target, *(Path(target, decode_name(image.path)).parent for image in images)}:
        remove_abandoned(folder)
    return outcomes


def _copy(plan: Plan, image: BadImage, target: Path) -> str:
    root, path = decode_name(plan.root), decode_name(image.path)
    source, copy = Path(root, path), Path(target, path)
    # A folder in the path may have become a link since the run was planned.
    is_inside = Path(os.path.realpath(source.parent)).is_relative_to(os.path.realpath(root))
    if not (is_inside or plan.follows_links):
        return "not copied: a link leads out of the data set"
    if not Path(os.path.realpath(copy.parent)).is_relative_to(os.path.realpath(target)):
        return "not copied: a link leads out of the folder of copies"
    try:
        with open_regular(file_path(plan, image.path)) as file:
            is_new = _put(copy, lambda out: out.writelines(_blocks(file)))
            return COPIED if is_new else ALREADY_THERE
    except ImageError as error:
        return f"not copied: {error}"


def _put(path: Path, write: Callable[[IO[bytes]], object]) -> bool:
    """Write a whole file unless one of that name exists; return whether it was written."""
    # Not named after the image, whose name may be as long as names can be.
    temporary = temporary_beside(path.with_name("poets"))
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as out:
                write(out)
            put_new(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
    return True


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    # Apart from the writing, whose errors are those of the storage.
    try:
        while content := file.read(_READ_BYTES):
            yield content
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
