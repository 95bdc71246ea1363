"""Folders that cannot be a data set, or look unlike one, and the folder that may be meant."""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable

from orchestrator.dataset.label_file import name_some
from orchestrator.dataset.layout import Layout, find_split
from orchestrator.dataset.scan import FoundImage, is_entered
from workers.errors import DatasetError, OtherFolderError
from workers.images.files import ENDINGS
from workers.storage.names import decode_name, encode_name

# 2023, 2023-05, 2023_05_17, 20230517
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}")
_MOST_ENTRIES = 1000


def refuse_labels(
    root: str, images: list[FoundImage], labels: Collection[str], is_multi_label: bool
) -> DatasetError | None:
    """Return why the labels of a folder cannot give a classifier, if they cannot."""
    if is_multi_label:
        empty = DatasetError("The label file gives no image any label. Fill it in.")
        return None if labels else empty
    if not labels:
        message = f"The images lie directly in {root}."
        if folder := _find_above(decode_name(root)):
            return OtherFolderError(
                f"{message} It looks like the folder of one label.", encode_name(folder)
            )
        return DatasetError(
            f"{message} Make one folder for each label below it ({root}/daisy, {root}/roses, ...)."
        )
    if len(labels) == 1:
        only = f"There is only one label, {next(iter(labels))!r}, in {root}."
        if below := _find_below(images):
            return OtherFolderError(
                f"{only} The folders that look like labels are in {root}/{below}.",
                f"{root}/{below}",
            )
        return DatasetError(
            f"{only} A classifier needs at least two: add a folder with other images."
        )
    return None


def _find_below(images: Iterable[FoundImage]) -> str | None:
    """Return the first folder below which images are in several folders, and none in itself."""
    folders = {tuple(image.path.split("/")[:-1]) for image in images if image.label is not None}
    depth = 0
    while len({path[: depth + 1] for path in folders}) == 1:
        depth += 1
        if any(len(path) <= depth for path in folders):
            return None
    return "/".join(next(iter(folders))[:depth]) or None


def _find_above(root: str) -> str | None:
    """Return the folder of the label folders that `root` may be one of."""
    parent = os.path.dirname(root)
    above = os.path.dirname(parent)
    if find_split(os.path.basename(parent)) and len(_splits_in(above)) > 1:
        return above
    siblings = [name for name in _folders_in(parent) if _holds_image(f"{parent}/{name}")]
    return parent if len(siblings) > 1 else None


def _splits_in(folder: str) -> list[str]:
    return [name for name in _folders_in(folder) if find_split(name)]


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [name for name in found if is_entered(folder, name)][:_MOST_ENTRIES]


def _holds_image(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            names = (entry.name for entry, _ in zip(entries, range(_MOST_ENTRIES), strict=False))
            return any(os.path.splitext(name)[1].lower() in ENDINGS for name in names)
    except OSError:
        return False


def find_dated_folder(
    root: str, folders: Iterable[tuple[str, ...]], layout: Layout
) -> tuple[str | None, list[str]]:
    """Return a folder whose folders may be the labels, and what to say of it.

    There is one when all labels are dates and hold folders that are none.

    Args:
        folders: Those that hold images, by the names in their paths.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for names in folders:
        if len(names) == 1:
            return None, []
        if names:
            below[names[0]].add(names[1])
    inner = set().union(*below.values())
    is_dated = len(below) > 1 and all(map(_DATE.fullmatch, below))
    if layout != Layout() or not is_dated or all(name[:1].isdigit() for name in inner):
        return None, []
    chosen = max(sorted(below), key=lambda name: len(below[name]))
    if len(below[chosen]) == 1:
        return None, []
    return f"{root}/{chosen}", [
        f"The labels {name_some(sorted(below))} are dates. If the folders in them "
        f"({name_some(sorted(inner))}) are the labels meant, {root}/{chosen} is a data set."
    ]
