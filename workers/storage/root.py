"""The root of shared storage, and the marker in it without which nobody writes.

A storage that is not mounted looks like an empty folder, and what is written there stays hidden
on the disk below the mount point. So a person's command makes a storage, with its marker, and
everybody else only uses one that has it.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from workers.errors import NoStorageError, StorageError
from workers.storage.regular_files import read_regular_file
from workers.storage.versioned_json import decode_versioned

MARKER, MARKER_VERSION = "poets-storage.json", 1
# All that poets keeps in a root, in folders.
_FOLDERS = ("runs", "bottlenecks", "backbones", "weights", "downloads")


@dataclass(frozen=True)
class Marker:
    """What the marker says.

    Attributes:
        id: Which storage it is, under whatever path; copies of it have the same.
    """

    id: str
    version: int = MARKER_VERSION


def storage_id(root: Path) -> str:
    """Return which storage is at `root`.

    Raises:
        NoStorageError: When there is none.
        StorageError: When the marker cannot be read.
    """
    path = root / MARKER
    try:
        return decode_versioned(read_regular_file(path), Marker, MARKER_VERSION).id
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_storage(root) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(
            f"The marker of the storage, {path}, cannot be read: {error}."
        ) from error


def is_earlier(root: Path) -> bool:
    """Whether an earlier version, which knew no marker, has used this folder as its storage."""
    return any((root / name).is_dir() for name in ("runs", "bottlenecks"))


def no_storage(root: Path) -> NoStorageError:
    """Return the error of a folder without a marker."""
    if is_earlier(root):
        why = "was made by an earlier version of poets and is not marked yet"
    elif root.is_dir():
        why = "is an empty folder (was it unmounted?)" if _is_empty(root) else "is another folder"
    else:
        why = "is not there (was it unmounted?)"
    return NoStorageError(f"The storage {root} {why}: it has no {MARKER}.", root)


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def root_of(path: Path) -> Path | None:
    """Return the root of the storage that `path` is in; None for a path that is in none.

    Raises:
        NoStorageError: When the root has no marker, such as after an unmount.
    """
    roots = [folder.parent for folder in path.parents if folder.name in _FOLDERS]
    for root in roots:
        if (root / MARKER).exists():
            return root
    if roots:
        # A run may be called "weights".
        raise no_storage(next((root for root in roots if root.name not in _FOLDERS), roots[0]))
    return None


def check_reachable(path: Path) -> None:
    """Tell a storage that is gone from one in which only `path` is missing.

    Raises:
        NoStorageError: When it is gone.
    """
    try:
        root_of(path)
    except NoStorageError as error:
        if not is_earlier(error.root):
            raise


def make_folder(folder: Path) -> None:
    """Make a folder of a storage unless it is there, and those above it.

    Never the root, nor the folder of a run: without these there is nothing to add to.

    Raises:
        NoStorageError: When the root has no marker.
        OSError: When the run is gone, or the storage refuses.
    """
    root = root_of(folder / "file")
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    if folder.is_dir():
        return
    parts = folder.relative_to(root).parts
    # By the root that is open, in case it is unmounted meanwhile.
    opened = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.stat(MARKER, dir_fd=opened)
        if parts[0] == "runs" and len(parts) > 1:
            os.stat("/".join(parts[:2]), dir_fd=opened)
        for end in range(1, len(parts) + 1):
            with contextlib.suppress(FileExistsError):
                os.mkdir("/".join(parts[:end]), dir_fd=opened)
    finally:
        os.close(opened)
