"""Find the images below a folder, or a random sample of them, without reading them."""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.dataset.service_files import (
    name_library_folder,
    name_service_file,
    name_service_folder,
)
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.errors import DatasetError
from workers.images.files import ENDINGS, looks_like_image, version_of
from workers.storage.names import encode_name

_MOST_KINDS = 8


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A file that should be an image.

    Attributes:
        path: Relative to the folder scanned, as `encode_name` writes it.
        version: Modification time, nanoseconds.
        label: First folder of the path, or None for files directly in the folder; in a
            multi-label data set the text of its labels, see workers.storage.label_sets.
    """

    path: str
    size: int
    version: int
    label: str | None


@dataclass
class Scan:
    """The images below a folder, in the order of their paths, and what was ignored, by kind.

    Attributes:
        images: A list, or from `stream_folder` an iterator; then `ignored` is complete
            only when it has ended.
        unopened: Path and kind of each link, device and pipe; None when they are not listed.
    """

    root: str
    images: Iterable[FoundImage]
    ignored: Counter[str]
    unopened: list[tuple[str, str]] | None = None


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """Return how much was ignored, most first: ``3 (.txt 2, links 1)``."""
    most = sorted(ignored.items(), key=lambda item: -item[1])
    more = f" and {len(most) - _MOST_KINDS} more kinds" if len(most) > _MOST_KINDS else ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in most[:_MOST_KINDS])
    return f"{sum(ignored.values()):,} ({kinds}{more})"


def scan_folder(folder: Path, on_progress: OnProgress = ignore) -> Scan:
    """Return every image below `folder`.

    The extension decides; only files without one are opened. Links are not followed (they
    could lead out of the folder), and neither hidden folders nor those of a system (see
    `orchestrator.dataset.service_files`) are entered.

    Raises:
        DatasetError: When the folder is missing, is a file, or cannot be read.
    """
    scan = stream_folder(folder, on_progress)
    scan.unopened = []
    scan.images = list(scan.images)
    scan.unopened.sort()
    return scan


def stream_folder(folder: Path, on_progress: OnProgress = ignore) -> Scan:
    """Do as `scan_folder`, but find the images only while they are taken.

    Memory grows with the largest folder, not with the number of images.
    """
    if not folder.exists():
        raise DatasetError(f"There is no folder {str(folder)!r}. Check the path.")
    if not folder.is_dir():
        raise DatasetError(f"{str(folder)!r} is a file. Give the folder that holds the images.")
    path = os.path.realpath(folder)
    scan = Scan(encode_name(path), (), Counter())
    scan.images = counted(
        _find_images(path, scan),
        lambda n: on_progress(Progress("looking for images", note=f"{n:,} found")),
    )
    return scan


def _find_images(root: str, scan: Scan) -> Iterator[FoundImage]:
    try:
        for entry in _walk(root, scan):
            image = _examine(entry, root, scan.ignored)
            if image:
                yield image
    except OSError as error:
        raise DatasetError(
            f"Cannot read {error.filename!r}: {error.strerror}. Give poets the right to read it."
        ) from error


def _walk(root: str, scan: Scan) -> Iterator[os.DirEntry[str]]:
    """Yield the regular files, and note in `scan` what is not opened."""
    folders = [_sorted_entries(root)]
    while folders:
        entry = next(folders[-1], None)
        if entry is None:
            folders.pop()
        elif entry.is_file(follow_symlinks=False):
            yield entry
        elif not entry.is_dir(follow_symlinks=False):
            kind = "links" if entry.is_symlink() else "devices and pipes"
            scan.ignored[kind] += 1
            if scan.unopened is not None:
                scan.unopened.append((_path_below(root, entry), kind))
        elif ignored_as := _name_unentered(root, entry.name, is_top=len(folders) == 1):
            scan.ignored[ignored_as] += 1
        else:
            folders.append(_sorted_entries(entry.path))


def is_entered(root: str, name: str) -> bool:
    """Whether images are looked for in the folder `name` at the top of `root`."""
    return _name_unentered(root, name, is_top=True) is None


def _name_unentered(root: str, name: str, is_top: bool) -> str | None:
    """Return as what a folder is counted that is not entered; None for one that is."""
    if is_top and (kind := name_library_folder(os.path.basename(root), name)):
        return kind
    return name_service_folder(name) or ("hidden folders" if name.startswith(".") else None)


def _sorted_entries(folder: str) -> Iterator[os.DirEntry[str]]:
    def sort_key(entry: os.DirEntry[str]) -> str:
        # As in the whole path, where "/" follows the name of a folder.
        name = encode_name(entry.name)
        return f"{name}/" if entry.is_dir(follow_symlinks=False) else name

    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=sort_key))


def _examine(entry: os.DirEntry[str], root: str, ignored: Counter[str]) -> FoundImage | None:
    if kind := name_service_file(entry.name):
        ignored[kind] += 1
        return None
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix not in ENDINGS and (suffix or not looks_like_image(entry.path)):
        # An odd one might not fit into JSON, or upset a terminal.
        ignored[(suffix or "no ending") if suffix.isprintable() else "odd endings"] += 1
        return None
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        ignored["vanished"] += 1
        return None
    path = _path_below(root, entry)
    # Interned: a hundred thousand copies of a label are megabytes.
    label = sys.intern(path.split("/", 1)[0]) if "/" in path else None
    return FoundImage(path, found.st_size, version_of(found), label)


def _path_below(root: str, entry: os.DirEntry[str]) -> str:
    return encode_name(entry.path[len(root.rstrip("/")) + 1 :])


def describe_no_images(scan: Scan) -> str:
    """Return what to say of a folder without images."""
    ignored = f" Ignored: {describe_ignored(scan.ignored)}." if scan.ignored else ""
    return f"There are no images in {scan.root}.{ignored} Give the folder that holds them."


@dataclass(frozen=True)
class Sample:
    """Images drawn from a folder, in random order.

    Attributes:
        root: The folder, as `encode_name` writes it.
        found: Number of images that were drawn from.
        mean_bytes: Their mean size.
        is_whole: Whether the whole folder was read; if not, the time was up.
    """

    root: str
    images: tuple[FoundImage, ...]
    found: int
    mean_bytes: float
    is_whole: bool


def draw_sample(
    folder: Path, most: int, limit_s: float, on_progress: OnProgress, seed: int = 0
) -> Sample:
    """Return up to `most` images of a folder, each as likely as any other (reservoir sampling).

    Args:
        limit_s: Seconds after which the rest of the folder is not read.

    Raises:
        DatasetError: When the folder is missing, cannot be read, or holds no image.
    """
    scan = stream_folder(folder, on_progress)
    generator = random.Random(seed)  # noqa: S311 - nothing secret
    drawn: list[FoundImage] = []
    began, found, size, is_whole = time.monotonic(), 0, 0, True
    for image in scan.images:
        found += 1
        size += image.size
        if len(drawn) < most:
            drawn.append(image)
        elif (index := generator.randrange(found)) < most:
            drawn[index] = image
        if time.monotonic() - began > limit_s:
            is_whole = False
            break
    if not drawn:
        raise DatasetError(describe_no_images(scan))
    generator.shuffle(drawn)
    return Sample(scan.root, tuple(drawn), found, size / found, is_whole)
