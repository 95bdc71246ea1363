"""``unreachable/N``: the images of batch N that workers could not open, and which ones tried.

A mount may be missing on one machine alone, so a worker that cannot open an image leaves a note
here and the batch to another worker. Only what that one cannot open either becomes a row.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

import msgspec

from workers.storage.atomic import storage_errors, write_whole
from workers.storage.layout import RunFolder
from workers.storage.regular_files import NotRegularError, read_regular_file


@dataclass(frozen=True)
class Unreachable:
    """What is known of the images of a batch that could not be opened.

    Attributes:
        images: Path, as in the manifest, -> what the last worker said.
        tried_by: The workers that could not open them, in order, as HOST:PID.
        tried_before: Those that could not before all were tried again.
    """

    images: dict[str, str] = field(default_factory=dict)
    tried_by: tuple[str, ...] = ()
    tried_before: tuple[str, ...] = ()

    @property
    def hosts(self) -> str:
        """The machines of these workers, in words."""
        return ", ".join(dict.fromkeys(worker.rpartition(":")[0] for worker in self.tried_by))

    def is_confirmed(self, unreachable: Iterable[str], worker: str, others: set[str]) -> bool:
        """Whether others have missed the images that a worker misses.

        Args:
            others: The workers that could still try them.
        """
        if self.tried_before and worker not in self.tried_before:
            return True
        # When all are tried again, first by a worker that has not missed them yet.
        is_open = self.tried_before and others - {*self.tried_before}
        is_known = all(path in self.images for path in unreachable)
        return bool(is_known and {*self.tried_by} - {worker} and not is_open)

    def name_hosts(self, reason: str) -> str:
        """Return the reason of a failure that says where it was seen."""
        return f"{reason} (seen on {self.hosts})" if self.tried_by else reason


def read_unreachable(folder: RunFolder, batch: int) -> Unreachable:
    """Return the note of a batch; an empty one where there is none, or a damaged one.

    Raises:
        StorageError: When the storage refuses.
    """
    path = folder.unreachable / str(batch)
    with storage_errors(f"read {path}"):
        try:
            return msgspec.json.decode(read_regular_file(path), type=Unreachable)
        except (FileNotFoundError, NotRegularError, ValueError, RecursionError):
            return Unreachable()


def write_unreachable(folder: RunFolder, batch: int, note: Unreachable) -> None:
    """Replace the note of a batch.

    Raises:
        StorageError: When the storage refuses.
    """
    write_whole(folder.unreachable / str(batch), msgspec.json.encode(asdict(note)))


def list_unreachable(folder: RunFolder) -> Iterator[tuple[int, Unreachable]]:
    """Yield each batch that has a note with images, and the note.

    Raises:
        StorageError: When the storage refuses.
    """
    with storage_errors(f"read {folder.unreachable}"):
        names = [path.name for path in folder.unreachable.glob("[0-9]*")]
    for batch in sorted(int(name) for name in names if name.isdecimal()):
        note = read_unreachable(folder, batch)
        if note.images:
            yield batch, note
