"""What a storage and this machine hold that no run needs: found first, removed only when asked."""

import os
import re
import stat
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.cleaning.uses import Uses, find_uses
from orchestrator.embedded.stack import Stack, find_ended_stacks, remove_ended_stack
from workers.errors import NoStorageError, StorageError
from workers.settings import Settings
from workers.storage.atomic import storage_errors
from workers.storage.layout import InRunFolder, RunFolder, Storage
from workers.storage.making import use_storage
from workers.storage.temporary import (
    ABANDONED_AFTER_S,
    file_clock,
    find_abandoned,
    find_scratch,
    newest_change,
    remove,
    temporary_in,
)

# What is found, in the order in which it is shown.
KINDS = {
    "half-written": "left half-written",
    "damaged": "damaged shards",
    "remains": "remains of deleted runs",
    "bottlenecks": "bottlenecks of no run",
    "backbones": "backbones of no run",
    "weights": "weights of no run",
    "scratch": "temporary files",
    "stacks": "stacks that have ended",
}
# The reason of what is left alone on purpose.
IN_USE = "it has been used since it was found"
# Those that a run may come to need, and that only the plans of all runs tell from garbage.
_SHARED = ("bottlenecks", "backbones", "weights")
_OF_A_RUN = {
    getattr(RunFolder(Path()), name).parts[0]
    for name, value in vars(RunFolder).items()
    if isinstance(value, InRunFolder)
}


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can be removed.

    Attributes:
        kind: A key of KINDS.
        files, bytes: What its removal frees; other names of the same file free nothing.
        changed: When it was last written, in seconds since 1970.
    """

    kind: str
    path: Path
    files: int
    bytes: int
    changed: float


@dataclass
class Findings:
    """What was found, and why some of it was not looked for."""

    garbage: list[Garbage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_garbage(settings: Settings, unused_for_s: float) -> Findings:
    """Return what no run needs, what nobody is writing, and what is no file of the user.

    Links are not followed.

    Args:
        unused_for_s: Seconds without a use after which bottlenecks, backbones and weights of no
            run count as garbage.

    Raises:
        StorageError: When there is no storage, or it does not answer.
    """
    storage = _open(settings)
    found = Findings()
    with storage_errors(f"look through {storage.root}"):
        now = _now(storage)
        uses = find_uses(storage)
        found.garbage += _half_written(storage, uses, now)
        found.garbage += _damaged(storage)
        found.garbage += _remains(uses, now)
        reason = _why_unknown(storage, uses, found.garbage)
        if reason:
            found.notes.append(f"Bottlenecks, backbones and weights were not looked at: {reason}")
        else:
            found.garbage += _unused(storage, uses, now - unused_for_s)
    found.garbage += [
        measure("scratch", path) for path in find_scratch(Path(tempfile.gettempdir()), now)
    ]
    found.garbage += [measure("stacks", stack.folder) for stack in find_ended_stacks()]
    return found


def remove_garbage(settings: Settings, findings: Findings) -> Iterator[tuple[Garbage, str]]:
    """Remove what was found, and yield each with the reason why it is still there, "" if it is not.

    What was written or used since it was found stays. It can be interrupted at any point.

    Raises:
        StorageError: When the storage does not answer.
    """
    storage = _open(settings)
    before = {one.path for one in findings.garbage if one.kind in _SHARED}
    wanted = before
    if before:
        with storage_errors(f"look through {storage.root}"):
            uses = find_uses(storage)
            half = _half_written(storage, uses, _now(storage))
            unknown = bool(_why_unknown(storage, uses, list(half)))
            again = [] if unknown else _unused(storage, uses, float("inf"))
            wanted = before & {one.path for one in again}
    for one in findings.garbage:
        if one.kind in _SHARED and one.path not in wanted:
            yield one, IN_USE
        else:
            yield one, _remove(one)


def _open(settings: Settings) -> Storage:
    root = Path(os.path.realpath(settings.storage))
    try:
        use_storage(root)
    except NoStorageError as error:
        raise StorageError(f"There is no storage {settings.storage} (is it mounted?).") from error
    return Storage(root)


def _now(storage: Storage) -> float:
    try:
        return file_clock(storage.root)
    except OSError:
        return time.time()  # a storage that one may only read can be looked at


def _remove(one: Garbage) -> str:
    try:
        if one.kind == "stacks":
            return "" if remove_ended_stack(Stack(one.path)) else IN_USE
        if newest_change(one.path) != one.changed:
            return IN_USE
        if stat.S_ISDIR(one.path.lstat().st_mode) and not one.path.name.startswith("."):
            # A name that says what it is if this ends half-way.
            hidden = temporary_in(one.path.parent)
            one.path.rename(hidden)
            remove(hidden)
        else:
            remove(one.path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return ""


def _half_written(storage: Storage, uses: Uses, now: float) -> Iterator[Garbage]:
    for folder in _folders(storage.root):
        yield from (measure("half-written", path) for path in find_abandoned(folder, now))
    names = defaultdict(list)
    for output in uses.outputs:
        names[output.parent].append(re.escape(output.name))
    for folder, outputs in names.items():
        # As they were called before they named their process.
        old = re.compile(rf"\.(?:{'|'.join(outputs)})\.[0-9a-f]{{32}}\.tmp")
        try:
            found = list(find_abandoned(folder, now, old=old))
        except OSError:
            continue  # another machine's folder, or one that is gone
        if not folder.is_relative_to(storage.root):
            yield from (measure("half-written", path) for path in found)


def _damaged(storage: Storage) -> Iterator[Garbage]:
    for _, folder in _shard_folders(storage):
        for path in _files(folder):
            if path.suffix == ".damaged":
                yield measure("damaged", path)


def _remains(uses: Uses, now: float) -> Iterator[Garbage]:
    """What late workers have written into the folders of runs that were deleted."""
    for path in uses.remains:
        with os.scandir(path) as entries:
            is_ours = all(entry.name in _OF_A_RUN or entry.name[0] == "." for entry in entries)
        if is_ours and now - newest_change(path) > ABANDONED_AFTER_S:
            yield measure("remains", path)


def _why_unknown(storage: Storage, uses: Uses, abandoned: list[Garbage]) -> str:
    """Return why it cannot be said what no run uses, "" if it can."""
    if not uses.has_folder:
        return f"there is no folder {storage.runs} (is it mounted?)."
    if uses.unreadable:
        return f"what run {uses.unreadable[0]!r} uses cannot be read."
    gone = {one.path for one in abandoned}
    with os.scandir(storage.runs) as entries:
        hidden = [Path(entry.path) for entry in entries if entry.name.startswith(".tmp-")]
    if set(hidden) - gone:
        return "a run is being planned."
    return ""


def _unused(storage: Storage, uses: Uses, before: float) -> Iterator[Garbage]:
    """Yield what no run uses and nobody has used since a point in time."""
    for backbone_id, folder in _shard_folders(storage):
        for path in _files(folder):
            if path.suffix == ".arrow" and not uses.has_shard(backbone_id, path.stem):
                yield from _if_older("bottlenecks", path, before)
    for path in _entries(storage.root / "backbones"):
        if path.is_dir() and not path.is_symlink() and path.name not in uses.backbones:
            yield from _if_older("backbones", path, before)
    for path in _files(storage.root / "weights"):
        if path.suffix == ".h5" and path.stem not in uses.weights:
            yield from _if_older("weights", path, before)


def _if_older(kind: str, path: Path, before: float) -> Iterator[Garbage]:
    one = measure(kind, path)
    if one.changed < before:
        yield one


def measure(kind: str, path: Path) -> Garbage:
    """Return how much a file, or a folder with all in it, holds; links are not followed."""
    files = size = 0
    newest = newest_change(path)
    for each in _all_files(path):
        facts = each.lstat()
        files += 1
        size += facts.st_size if facts.st_nlink == 1 else 0
    return Garbage(kind, path, files, size, newest)


def _all_files(path: Path) -> Iterator[Path]:
    if not stat.S_ISDIR(path.lstat().st_mode):
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def _folders(root: Path) -> Iterator[Path]:
    """Yield a folder and all below it, but for those half-written, and for links."""
    yield root
    for path in _entries(root):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _folders(path)


def _shard_folders(storage: Storage) -> Iterator[tuple[str, Path]]:
    """Yield the folders of shards, each with the id of its backbone."""
    for of_backbone in _entries(storage.root / "bottlenecks"):
        if not of_backbone.is_symlink():
            for folder in _entries(of_backbone):
                yield of_backbone.name, folder


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in _entries(folder) if path.is_file() and not path.is_symlink())


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if there is none, or if a link is in its place."""
    if folder.is_symlink():
        return []
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
