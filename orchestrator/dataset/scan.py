"""Find the images below a folder, without reading them."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.errors import DatasetError
from workers.images.files import ENDINGS, looks_like_image, version_of
from workers.storage.names import encode_name

LINKS, DEVICES = "links", "devices and pipes"
_OnUnopened = Callable[[str, str], None]


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
        unopened: Path and kind of each link, device and pipe, from `scan_folder` only.
    """

    root: str
    images: Iterable[FoundImage]
    ignored: Counter[str]
    unopened: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ignored_text(self) -> str:
        """Such as ``3 (.txt 2, links 1)``."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.ignored.most_common(6))
        return f"{self.ignored.total()} ({kinds})"


def scan_folder(folder: Path, on_progress: OnProgress = ignore) -> Scan:
    """Return every image below `folder`.

    The extension decides; only files without one are opened. Links are not followed (they
    could lead out of the folder), and hidden folders are not entered.

    Raises:
        DatasetError: When the folder is missing, is a file, or cannot be read.
    """
    unopened: list[tuple[str, str]] = []
    scan = stream_folder(folder, on_progress, lambda *found: unopened.append(found))
    scan.images = list(scan.images)
    scan.unopened = sorted(unopened)
    return scan


def stream_folder(
    folder: Path,
    on_progress: OnProgress = ignore,
    on_unopened: _OnUnopened = lambda path, kind: None,
) -> Scan:
    """Do as `scan_folder`, but find the images only while they are taken.

    Memory grows with the largest folder, not with the number of images.

    Args:
        on_unopened: Called with path and kind of each link, device and pipe.
    """
    if not folder.exists():
        raise DatasetError(f"There is no folder {str(folder)!r}. Check the path.")
    if not folder.is_dir():
        raise DatasetError(f"{str(folder)!r} is a file. Give the folder that holds the images.")
    path = os.path.realpath(folder)
    ignored: Counter[str] = Counter()
    images = counted(
        _images(path, ignored, on_unopened),
        lambda n: on_progress(Progress("looking for images", note=f"{n:,} found")),
    )
    return Scan(encode_name(path), images, ignored)


def _images(root: str, ignored: Counter[str], on_unopened: _OnUnopened) -> Iterator[FoundImage]:
    def leave(entry: os.DirEntry[str], kind: str) -> None:
        ignored[kind] += 1
        on_unopened(_path_below(root, entry), kind)

    try:
        for entry in _walk(root, ignored, leave):
            image = _examine(entry, root, ignored)
            if image:
                yield image
    except OSError as error:
        raise DatasetError(
            f"Cannot read {error.filename!r}: {error.strerror}. Give poets the right to read it."
        ) from error


def _walk(
    root: str, ignored: Counter[str], leave: Callable[[os.DirEntry[str], str], None]
) -> Iterator[os.DirEntry[str]]:
    folders = [_sorted_entries(root)]
    while folders:
        entry = next(folders[-1], None)
        if entry is None:
            folders.pop()
        elif entry.is_symlink():
            leave(entry, LINKS)
        elif entry.is_dir(follow_symlinks=False):
            if entry.name.startswith("."):
                ignored["hidden folders"] += 1
            else:
                folders.append(_sorted_entries(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield entry
        else:
            leave(entry, DEVICES)


def _sorted_entries(folder: str) -> Iterator[os.DirEntry[str]]:
    def sort_key(entry: os.DirEntry[str]) -> str:
        # As in the whole path, where "/" follows the name of a folder.
        name = encode_name(entry.name)
        return f"{name}/" if entry.is_dir(follow_symlinks=False) else name

    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=sort_key))


def _examine(entry: os.DirEntry[str], root: str, ignored: Counter[str]) -> FoundImage | None:
    suffix = os.path.splitext(entry.name)[1].lower()
    # macOS leaves "._IMG_1.jpg" beside a photograph on disks of other systems.
    if entry.name.startswith("._"):
        ignored["._*"] += 1
        return None
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
    ignored = f" Ignored: {scan.ignored_text}." if scan.ignored else ""
    return f"There are no images in {scan.root}.{ignored} Give the folder that holds them."
