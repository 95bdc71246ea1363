"""What storage has of the batches of a run."""

from dataclasses import dataclass

from workers.errors import StorageError
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import batch_sizes, own_shards
from workers.storage.plan import Plan


@dataclass
class Stored:
    """What was found in storage; a driver keeps it up with hints.

    Attributes:
        sizes: Rows in each batch.
        shards: The shard that each batch writes; None when all of it was cached.
        done: Batches whose result is in storage.
        failed: Images that could not be read, as far as hints have told.
    """

    sizes: list[int]
    shards: list[str | None]
    done: set[int]
    failed: int = 0

    @classmethod
    def look(cls, storage: Storage, folder: RunFolder, plan: Plan) -> "Stored":
        """Return what storage has now.

        Raises:
            RunError: When the manifest cannot be read.
        """
        stored = cls(batch_sizes(folder), own_shards(folder), set())
        stored.look_again(storage, folder, plan)
        return stored

    def look_again(self, storage: Storage, folder: RunFolder, plan: Plan) -> None:
        """Add to `done` what has come since."""
        left = set(range(len(self.sizes))) - self.done
        self.done |= {batch for batch in left if self.has(storage, folder, plan, batch)}

    def has(self, storage: Storage, folder: RunFolder, plan: Plan, batch: int) -> bool:
        """Return whether the result of one batch is in storage."""
        if plan.labelling:
            return folder.prediction_shard(batch).exists()
        if (folder.redo / str(batch)).exists():
            return False
        shard = self.shards[batch]
        return shard is None or storage.shard(plan.backbone_id, shard).exists()

    @property
    def rows_done(self) -> int:
        return sum(self.sizes[batch] for batch in self.done)


def check_there(storage: Storage, folder: RunFolder, flags: str = "") -> None:
    """Make sure that a run is still there: an unmounted folder looks like one without work done.

    Raises:
        StorageError: With what to do.
    """
    if not folder.plan.exists():
        what = f"has no run {folder.name!r} any more (was it unmounted?)"
        raise storage_gone(storage, folder.name + flags, what)


def storage_gone(storage: Storage, resumed: str, what: str) -> StorageError:
    """Return the error that says how to go on when the storage is back."""
    return StorageError(
        f"The storage {storage.root} {what}. When it is there again, go on with "
        f"`poets resume {resumed}`."
    )
