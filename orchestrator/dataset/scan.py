"""Find the images below a folder, or a random sample of them, without reading them."""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from orchestrator.dataset.service_files import (
    name_library_folder,
    name_service_file,
    name_service_folder,
)
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.errors import DatasetError, LinksNotFollowedError
from workers.images.files import ENDINGS, looks_like_image, version_of
from workers.storage.names import encode_name

_MOST_KINDS = 8
REPEATED_LINKS = "links to what is found anyway"


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
        follows_links: Whether links to files and folders are followed.
        repeats: Path of each image that a link leads to although it is there already, and the
            path that it has.
    """

    root: str
    images: Iterable[FoundImage]
    ignored: Counter[str]
    unopened: list[tuple[str, str]] | None = None
    follows_links: bool = False
    repeats: list[tuple[str, str]] = field(default_factory=list)


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """Return how much was ignored, most first: ``3 (.txt 2, links 1)``."""
    most = sorted(ignored.items(), key=lambda item: -item[1])
    more = f" and {len(most) - _MOST_KINDS} more kinds" if len(most) > _MOST_KINDS else ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in most[:_MOST_KINDS])
    return f"{sum(ignored.values()):,} ({kinds}{more})"


def scan_folder(
    folder: Path, on_progress: OnProgress = ignore, follows_links: bool = False
) -> Scan:
    """Return every image below `folder`.

    The extension decides; only files without one are opened. Links are not followed unless asked
    for (they could lead out of the folder), and neither hidden folders nor those of a system (see
    `orchestrator.dataset.service_files`) are entered.

    Raises:
        DatasetError: When the folder is missing, is a file, or cannot be read.
    """
    scan = stream_folder(folder, on_progress, follows_links)
    scan.unopened = []
    scan.images = list(scan.images)
    scan.unopened.sort()
    return scan


def stream_folder(
    folder: Path, on_progress: OnProgress = ignore, follows_links: bool = False
) -> Scan:
    """Do as `scan_folder`, but find the images only while they are taken.

    Memory grows with the largest folder and the number of links followed, not with that of images.
    """
    check_folder(folder)
    path = os.path.realpath(folder)
    scan = Scan(encode_name(path), (), Counter(), follows_links=follows_links)
    scan.images = counted(
        _find_images(path, scan),
        lambda n: on_progress(Progress("looking for images", note=f"{n:,} found")),
    )
    return scan


def check_folder(folder: Path) -> None:
    """Raise DatasetError when `folder` is not there, or is a file."""
    if not folder.exists():
        raise DatasetError(f"There is no folder {str(folder)!r}. Check the path.")
    if not folder.is_dir():
        raise DatasetError(f"{str(folder)!r} is a file. Give the folder that holds the images.")


def _find_images(root: str, scan: Scan) -> Iterator[FoundImage]:
    once = _Once(root, scan)
    try:
        for found in _walk(root, scan, once):
            image = _examine(found, root, scan.ignored)
            if image and (not found.is_linked or once.is_new_file(found.real, image.path)):
                yield image
    except OSError as error:
        raise DatasetError(
            f"Cannot read {error.filename!r}: {error.strerror}. Give poets the right to read it."
        ) from error


class _Found(NamedTuple):
    """A file or folder.

    Attributes:
        path: Where it is below the data set, by way of links.
        real: Where it is without them; the same if there are none.
    """

    path: str
    real: str
    is_linked: bool


class _Once:
    """Lets each file and folder that links lead to be found once: see `is_new_file`."""

    def __init__(self, root: str, scan: Scan) -> None:
        self._root = root
        self._scan = scan
        self._folders: set[str] = set()
        self._files: dict[str, str] = {}

    def is_new_folder(self, real: str) -> bool:
        """Whether the images in a folder that a link leads to are found by this link alone."""
        is_new = not is_found_by_itself(self._root, real) and real not in self._folders
        self._folders.add(real)
        if not is_new:
            self._scan.ignored[REPEATED_LINKS] += 1
        return is_new

    def is_new_file(self, real: str, path: str) -> bool:
        """Whether an image that a link leads to is found by this link alone.

        Where the file itself is below the data set, it keeps its own path; else the first path
        to it in the order of paths is kept.
        """
        if is_found_by_itself(self._root, real):
            kept = encode_name(real[len(self._root.rstrip("/")) + 1 :])
        else:
            kept = self._files.setdefault(real, path)
        if kept != path:
            self._scan.ignored[REPEATED_LINKS] += 1
            if self._scan.unopened is not None:
                self._scan.repeats.append((path, kept))
        return kept == path


def is_found_by_itself(root: str, real: str) -> bool:
    """Whether a scan of `root` finds a file or folder without following any link.

    Args:
        real: A path without links.
    """
    if real == root:
        return True
    if os.path.commonpath((root, real)) != root:
        return False
    names = real[len(root.rstrip("/")) + 1 :].split("/")
    is_folder = os.path.isdir(real)
    above = names if is_folder else names[:-1]
    if any(_name_unentered(root, name, is_top=not at) for at, name in enumerate(above)):
        return False
    return is_folder or (name_service_file(names[-1]) is None and _may_be_image(real))


def _walk(root: str, scan: Scan, once: "_Once") -> Iterator[_Found]:
    """Yield the regular files, and note in `scan` what is not opened."""
    top = _Found(root, root, is_linked=False)
    folders = [(top, _sorted_entries(root, scan.follows_links))]
    while folders:
        folder, entries = folders[-1]
        entry = next(entries, None)
        if entry is None:
            folders.pop()
            continue
        found = _follow(entry, folder) if scan.follows_links else _stay(entry)
        if _is_file(entry, scan.follows_links):
            yield found
        elif not _is_folder(entry, scan.follows_links):
            _note_unopened(scan, root, entry)
        elif ignored_as := _name_unentered(root, entry.name, is_top=len(folders) == 1):
            scan.ignored[ignored_as] += 1
        elif not found.is_linked or once.is_new_folder(found.real):
            folders.append((found, _sorted_entries(entry.path, scan.follows_links)))


def _stay(entry: os.DirEntry[str]) -> _Found:
    return _Found(entry.path, entry.path, is_linked=False)


def _follow(entry: os.DirEntry[str], folder: _Found) -> _Found:
    if entry.is_symlink():
        return _Found(entry.path, os.path.realpath(entry.path), is_linked=True)
    return _Found(entry.path, f"{folder.real.rstrip('/')}/{entry.name}", folder.is_linked)


def _is_file(entry: os.DirEntry[str], follows: bool) -> bool:
    # Not the entry's own answer for a link: links in a circle are errors to it.
    is_link = follows and entry.is_symlink()
    return os.path.isfile(entry.path) if is_link else entry.is_file(follow_symlinks=False)


def _is_folder(entry: os.DirEntry[str], follows: bool) -> bool:
    is_link = follows and entry.is_symlink()
    return os.path.isdir(entry.path) if is_link else entry.is_dir(follow_symlinks=False)


def _note_unopened(scan: Scan, root: str, entry: os.DirEntry[str]) -> None:
    kind = "devices and pipes"
    if entry.is_symlink():
        kind = "links that lead nowhere" if scan.follows_links else "links"
    scan.ignored[kind] += 1
    if scan.unopened is not None:
        scan.unopened.append((_path_below(root, entry.path), kind))


def is_entered(root: str, name: str) -> bool:
    """Whether images are looked for in the folder `name` at the top of `root`."""
    return _name_unentered(root, name, is_top=True) is None


def _name_unentered(root: str, name: str, is_top: bool) -> str | None:
    """Return the kind under which a folder is ignored, None for one that is entered."""
    if is_top and (kind := name_library_folder(os.path.basename(root), name)):
        return kind
    return name_service_folder(name) or ("hidden folders" if name.startswith(".") else None)


def _sorted_entries(folder: str, follows: bool) -> Iterator[os.DirEntry[str]]:
    def sort_key(entry: os.DirEntry[str]) -> str:
        # As in the whole path, where "/" follows the name of a folder.
        name = encode_name(entry.name)
        return f"{name}/" if _is_folder(entry, follows) else name

    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=sort_key))


def _examine(found: _Found, root: str, ignored: Counter[str]) -> FoundImage | None:
    name = os.path.basename(found.path)
    if kind := name_service_file(name):
        ignored[kind] += 1
        return None
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in ENDINGS and (suffix or not looks_like_image(found.real)):
        # An odd one might not fit into JSON, or upset a terminal.
        ignored[(suffix or "no ending") if suffix.isprintable() else "odd endings"] += 1
        return None
    try:
        stat = os.lstat(found.real)
    except FileNotFoundError:
        ignored["vanished"] += 1
        return None
    path = _path_below(root, found.path)
    # Interned: a hundred thousand copies of a label are megabytes.
    label = sys.intern(path.split("/", 1)[0]) if "/" in path else None
    return FoundImage(path, stat.st_size, version_of(stat), label)


def _may_be_image(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    return suffix in ENDINGS or (not suffix and looks_like_image(path))


def _path_below(root: str, path: str) -> str:
    return encode_name(path[len(root.rstrip("/")) + 1 :])


def no_images(scan: Scan) -> DatasetError:
    """Return what to say of a folder without images."""
    ignored = f" Ignored: {describe_ignored(scan.ignored)}." if scan.ignored else ""
    if links := scan.ignored["links"]:
        are = "1 link, which is" if links == 1 else f"{links:,} links, which are"
        return LinksNotFollowedError(
            f"There are no images in {scan.root}, but {are} not followed.{ignored}"
        )
    return DatasetError(
        f"There are no images in {scan.root}.{ignored} Give the folder that holds them."
    )


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
        raise no_images(scan)
    generator.shuffle(drawn)
    return Sample(scan.root, tuple(drawn), found, size / found, is_whole)
