"""Images that no worker could open: one more try, then few are rows and many end the run."""

import contextlib
import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from workers.errors import TooManyFailedError
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.manifest import iterate_paths
from workers.storage.plan import Run
from workers.storage.regular_files import read_regular_file
from workers.storage.unreachable import list_unreachable, write_unreachable

_MOST_NAMED = 3
# One image that is gone is no folder that is gone.
_SMALLEST_FOLDER = 2


def try_again(run: Run) -> set[int]:
    """Have the images that no worker could open tried once more; return their batches.

    Nothing else of these batches is computed again.

    Raises:
        StorageError: When the storage refuses.
    """
    batches = set()
    for batch, note in list_unreachable(run.folder):
        # Whoever has tried says nothing about a mount that may be back.
        before = tuple(dict.fromkeys((*note.tried_before, *note.tried_by)))
        write_unreachable(run.folder, batch, replace(note, tried_by=(), tried_before=before))
        write_whole(run.folder.redo / str(batch), b"")
        with storage_errors(f"remove {run.folder.prediction_shard(batch)}"):
            run.folder.prediction_shard(batch).unlink(missing_ok=True)
        batches.add(batch)
    return batches


def allow_failed(run: Run, share: float) -> None:
    """Let this part of a run's images be unreachable, 0 to 1, whatever its plan says."""
    write_whole(run.folder.max_failed, str(share).encode())


def most_failed(run: Run) -> float:
    """Return which part of a run's images may be unreachable, 0 to 1."""
    with contextlib.suppress(OSError, ValueError):
        return float(read_regular_file(run.folder.max_failed))
    return run.plan.max_failed


def check_unreachable(run: Run) -> None:
    """Refuse to end a run that lacks too many images, or a whole folder of them.

    Raises:
        TooManyFailedError: Says how many, and what they have in common.
        StorageError: When the storage refuses.
    """
    allowed = most_failed(run)
    found = find_unreachable(run)
    if found is None or allowed >= 1:
        return
    if found.folders or len(found.reasons) > allowed * run.plan.images:
        raise TooManyFailedError(
            f"{found.describe()} At most {100 * allowed:g}% of all may fail, and no whole folder.",
            run.name,
        )


@dataclass(frozen=True)
class Found:
    """The images of a run that could not be opened.

    Attributes:
        images: Of the whole run.
        reasons: By path.
        folders: Those all of whose images are among them, but not what is in these; and how
            many images each has.
    """

    images: int
    reasons: dict[str, str]
    folders: dict[str, int]

    def describe(self) -> str:
        """Say how many they are and what they have in common."""
        count, share = len(self.reasons), f"{len(self.reasons) / self.images:.1%}"
        words = [f"{count:,} of {self.images:,} images ({share}) cannot be read as planned"]
        if self.folders:
            words.append(f", among them all images in {_name_some(self.folders)}")
        elif common := posixpath.commonpath([posixpath.dirname(path) for path in self.reasons]):
            words.append(f", all of them in {common!r}")
        (reason, times), *others = Counter(self.reasons.values()).most_common()
        words.append(f": {reason}" if not others else f"; {times:,} of them: {reason}")
        return f"{''.join(words)}."


def find_unreachable(run: Run) -> Found | None:
    """Return the images of a run that could not be opened so far, if there are any.

    Raises:
        StorageError: When the storage refuses.
    """
    reasons = {
        path: note.name_hosts(reason)
        for _, note in list_unreachable(run.folder)
        for path, reason in note.images.items()
    }
    if not reasons:
        return None
    planned, gone = _count_by_folder(iterate_paths(run.folder)), _count_by_folder(reasons)
    whole = {
        folder for folder, count in gone.items() if count >= max(_SMALLEST_FOLDER, planned[folder])
    }
    folders = {
        folder: planned[folder]
        for folder in sorted(whole)
        if posixpath.dirname(folder) not in whole
    }
    return Found(run.plan.images, reasons, folders)


def _count_by_folder(paths: Iterable[str]) -> Counter[str]:
    """Return how many images each folder has, those in its folders included; not the root."""
    counts: Counter[str] = Counter()
    for path in paths:
        folder = posixpath.dirname(path)
        while folder:
            counts[folder] += 1
            folder = posixpath.dirname(folder)
    return counts


def _name_some(folders: dict[str, int]) -> str:
    names = [f"{folder!r} ({count:,})" for folder, count in folders.items()]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more folders" if more > 0 else "")
