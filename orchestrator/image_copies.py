"""Copies of bad images for a person to look at; nothing is overwritten or leaves the folder."""

import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from orchestrator.bad_images import BadImage
from orchestrator.progress import OnProgress, Progress, counted
from workers.errors import ImageError, UsageError
from workers.images.files import open_regular
from workers.storage.atomic import put_new, storage_errors
from workers.storage.csv_files import csv_bytes
from workers.storage.names import check_utf8, decode_name
from workers.storage.plan import Plan

LIST_NAME = "quarantine.csv"
COPIED, ALREADY_THERE = "copied", "already there"
_READ_BYTES = 1024**2


def check_target(plan: Plan, target: Path) -> None:
    """Refuse a folder that the images of a run cannot be copied to.

    Raises:
        UsageError: With what to do.
    """
    check_utf8(str(target))
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file. Give a folder to copy the images to.")
    root = os.path.realpath(decode_name(plan.root))
    if _is_within(os.path.realpath(target), root):
        raise UsageError(
            f"{target} is inside the data set {plan.root}, and would become part of it. "
            "Give a folder elsewhere."
        )
    if (target / LIST_NAME).exists():
        raise UsageError(
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
    return outcomes


def _copy(plan: Plan, image: BadImage, target: Path) -> str:
    root, path = decode_name(plan.root), decode_name(image.path)
    source, copy = Path(root, path), Path(target, path)
    # A folder in the path may have become a link since the run was planned.
    if not _is_within(os.path.realpath(source.parent), os.path.realpath(root)):
        return "not copied: a link leads out of the data set"
    if not _is_within(os.path.realpath(copy.parent), os.path.realpath(target)):
        return "not copied: a link leads out of the folder of copies"
    try:
        with open_regular(str(source)) as file:
            return COPIED if _put(copy, lambda out: _pour(file, out)) else ALREADY_THERE
    except ImageError as error:
        return f"not copied: {error}"


def _put(path: Path, write: Callable[[IO[bytes]], object]) -> bool:
    """Write a whole file unless one of that name exists; return whether it was written."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
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


def _pour(file: IO[bytes], out: IO[bytes]) -> None:
    while content := _read(file):
        out.write(content)


def _read(file: IO[bytes]) -> bytes:
    try:
        return file.read(_READ_BYTES)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def _is_within(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)
