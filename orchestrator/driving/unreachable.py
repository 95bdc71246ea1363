"""Images that no worker could open: one more try, then few are rows and many end the run."""

import contextlib
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from workers.errors import TooManyFailedError
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.label_sets import split_labels
from workers.storage.manifest import iterate_labels
from workers.storage.plan import Run
from workers.storage.regular_files import read_regular_file
from workers.storage.unreachable import list_unreachable, write_unreachable

_MOST_NAMED = 3
# One image that is gone is no folder that is gone.
_SMALLEST_GROUP = 2


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
    """Refuse to end a run that lacks too many images, or a whole folder or label.

    Raises:
        TooManyFailedError: Says how many, and what they have in common.
        StorageError: When the storage refuses.
    """
    allowed = most_failed(run)
    found = find_unreachable(run)
    if found is None or allowed >= 1:
        return
    if found.groups or len(found.reasons) > allowed * run.plan.images:
        raise TooManyFailedError(
            f"{found.describe()} At most {100 * allowed:g}% of all may fail, and no whole folder "
            "or label.",
            run.name,
        )


@dataclass(frozen=True)
class Found:
    """The images of a run that could not be opened.

    Attributes:
        images: Of the whole run.
        reasons: By path.
        groups: Folders all of whose images are among them, else labels, in words.
    """

    images: int
    reasons: dict[str, str]
    groups: list[str]

    def describe(self) -> str:
        """Say how many they are and what they have in common."""
        count, share = len(self.reasons), f"{len(self.reasons) / self.images:.1%}"
        words = [f"{count:,} of {self.images:,} images ({share}) cannot be read as planned"]
        if self.groups:
            words.append(f", among them all images of {_name_some(self.groups)}")
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
    labels = dict(iterate_labels(run.folder))
    whole = _find_whole(labels, reasons, _folders_above)
    groups = {
        f"{folder!r} ({count:,})": count
        for folder, count in whole.items()
        if posixpath.dirname(folder) not in whole
    }
    if not groups and run.plan.training:
        is_multi_label = run.plan.training.multi_label

        def labels_of(path: str) -> list[str]:
            text = labels.get(path)
            return split_labels(text) if text and is_multi_label else [text or ""]

        of_label = _find_whole(labels, reasons, labels_of)
        groups = {f"the label {label!r} ({count:,})": count for label, count in of_label.items()}
    return Found(run.plan.images, reasons, list(groups))


def _find_whole(
    planned: Iterable[str], gone: Iterable[str], groups_of: Callable[[str], list[str]]
) -> dict[str, int]:
    """Return the groups of two or more images all of which are gone, and how many each has."""
    all_of = Counter(group for path in planned for group in groups_of(path))
    gone_of = Counter(group for path in gone for group in groups_of(path))
    return {
        group: count
        for group, count in sorted(gone_of.items())
        if count >= max(_SMALLEST_GROUP, all_of[group])
    }


def _folders_above(path: str) -> list[str]:
    """Return the folders that an image is in, without the root."""
    folders = []
    while path := posixpath.dirname(path):
        folders.append(path)
    return folders


def _name_some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
