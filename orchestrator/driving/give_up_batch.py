"""Give up a batch that ends every worker that touches it: each image gets a row that says so."""

from workers.bottlenecks.batches import ImageResult, Request, complete_batch
from workers.labelling import write_batch_predictions
from workers.storage.manifest import read_batch
from workers.storage.run import Run


def give_up_batch(run: Run, number: int, reason: str) -> None:
    """Write the result of a batch in which every image not known yet has failed for `reason`.

    The rows have no digest, so no later run takes them from the cache.

    Raises:
        StorageError: When the storage refuses; the batch is as it was before.
    """

    def give_up(images: list[Request]) -> list[ImageResult]:
        return [ImageResult(None, None, reason)] * len(images)

    batch = read_batch(run.folder, number)
    results = complete_batch(run, batch, give_up)
    if run.plan.labelling:
        write_batch_predictions(run, batch, results)
