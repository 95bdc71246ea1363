"""What storage has of the batches of a run."""

from dataclasses import dataclass

from workers.storage.manifest import batch_sizes, own_shards
from workers.storage.run import Run


@dataclass
class Stored:
    """What was found in storage; a driver adds what workers report.

    Attributes:
        sizes: Rows in each batch.
        shards: The shard that each batch writes; None when all of it was cached.
        done: Batches whose result is in storage.
        failed: Images that could not be read, as far as workers have reported.
    """

    run: Run
    sizes: list[int]
    shards: list[str | None]
    done: set[int]
    failed: int = 0

    @classmethod
    def read(cls, run: Run) -> "Stored":
        """Return what storage has now.

        Raises:
            RunError: When the manifest cannot be read.
        """
        stored = cls(run, batch_sizes(run.folder), own_shards(run.folder), set())
        stored.read_again()
        return stored

    def read_again(self) -> None:
        """Add to `done` what has come since."""
        left = set(range(len(self.sizes))) - self.done
        self.done |= {batch for batch in left if self.has(batch)}

    def has(self, batch: int) -> bool:
        """Whether the result of one batch is in storage."""
        folder = self.run.folder
        if self.run.plan.labelling:
            return folder.prediction_shard(batch).exists()
        if (folder.redo / str(batch)).exists():
            return False
        shard = self.shards[batch]
        return shard is None or self.run.shard(shard).exists()

    @property
    def rows_done(self) -> int:
        return sum(self.sizes[batch] for batch in self.done)
