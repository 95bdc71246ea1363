"""Find the images below a folder, without reading them."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.errors import DatasetError
from workers.images import SUFFIXES, looks_like_image
from workers.storage.names import encode_name


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A file that should be an image.

    Attributes:
        path: Relative to the folder scanned, as `encode_name` writes it.
        version: Modification time, nanoseconds.
        label: First folder of the path, or None for files directly in the folder.
    """

    path: str
    size: int
    version: int
    label: str | None


@dataclass
class Scan:
    """All images below a folder, by path, and what was ignored, by kind."""

    root: str
    images: list[FoundImage] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def ignored_text(self) -> str:
        """Such as ``3 (.txt 2, links 1)``."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.ignored.most_common(6))
        return f"{self.ignored.total()} ({kinds})"


def scan_folder(folder: Path) -> Scan:
    """Return every image below `folder`, in the order of their paths.

    Endings decide; only files without one are looked into. Links are not followed (they
    could leave the folder), and hidden folders are not entered.

    Raises:
        DatasetError: When the folder is missing, no folder, or cannot be read.
    """
    if not folder.exists():
        raise DatasetError(f"There is no folder {str(folder)!r}. Check the path.")
    if not folder.is_dir():
        raise DatasetError(f"{str(folder)!r} is a file. Give the folder that holds the images.")
    scan = Scan(encode_name(os.path.realpath(folder)))
    try:
        for entry in _walk(os.path.realpath(folder), scan.ignored):
            _add(scan, entry)
    except OSError as error:
        raise DatasetError(
            f"Cannot read {error.filename!r}: {error.strerror}. Give poets the right to read it."
        ) from error
    scan.images.sort(key=lambda image: image.path)
    return scan


def _walk(folder: str, ignored: Counter[str]) -> Iterator[os.DirEntry[str]]:
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    ignored["links"] += 1
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name.startswith("."):
                        ignored["hidden folders"] += 1
                    else:
                        folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry
                else:
                    ignored["devices and pipes"] += 1


def _add(scan: Scan, entry: os.DirEntry[str]) -> None:
    suffix = os.path.splitext(entry.name)[1].lower()
    # "._IMG_1.jpg" is what macOS leaves beside a photograph on foreign disks.
    if entry.name.startswith("._"):
        scan.ignored["._*"] += 1
    elif suffix in SUFFIXES or (not suffix and looks_like_image(entry.path)):
        found = entry.stat(follow_symlinks=False)
        path = encode_name(entry.path)[len(scan.root.rstrip("/")) + 1 :]
        label = path.split("/", 1)[0] if "/" in path else None
        scan.images.append(FoundImage(path, found.st_size, found.st_mtime_ns, label))
    else:
        scan.ignored[suffix or "no ending"] += 1
