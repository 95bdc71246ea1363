"""What storage has of the batches of a run."""

import contextlib
import os
from dataclasses import dataclass

from workers.bottlenecks.batches import complete_batch
from workers.bottlenecks.requests import ImageResult, Request
from workers.labelling import write_batch_predictions
from workers.storage.manifest import batch_sizes, own_shards, read_batch
from workers.storage.plan import Run


@dataclass
class Stored:
    """What was found in storage; a driver adds what workers report.

    Attributes:
        sizes: Rows in each batch.
        shards: The shard that each batch writes, None when all of it was cached; empty for a
            labelling job, whose results are predictions.
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
        shards = [] if run.plan.labelling else own_shards(run.folder)
        stored = cls(run, batch_sizes(run.folder), shards, set())
        stored.read_again()
        return stored

    def read_again(self) -> None:
        """Add to `done` what has come since."""
        left, folder = set(range(len(self.sizes))) - self.done, self.run.folder
        if self.run.plan.labelling:
            # One listing is cheaper than a question for each batch.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                names = set(os.listdir(folder.predictions))
                self.done |= {n for n in left if folder.prediction_shard(n).name in names}
            return
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

    def give_up(self, number: int, reason: str) -> None:
        """Write the result of a batch in which every image not known yet has failed for `reason`.

        The rows have no digest, so no later run takes them from the cache.

        Raises:
            StorageError: When the storage refuses; the batch is as it was before.
        """

        def fail(images: list[Request]) -> list[ImageResult]:
            return [ImageResult(None, None, reason)] * len(images)

        batch = read_batch(self.run.folder, number)
        results = complete_batch(self.run, batch, fail)
        if self.run.plan.labelling:
            write_batch_predictions(self.run, batch, results)
        self.done.add(number)

    @property
    def rows_done(self) -> int:
        return sum(self.sizes[batch] for batch in self.done)
