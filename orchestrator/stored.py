"""What storage says of the batches of a run."""

from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import read_batches
from workers.storage.plan import Plan


def find_done(storage: Storage, folder: RunFolder, plan: Plan) -> set[int]:
    """Return the numbers of the batches whose result is in storage."""
    shards = own_shards(folder)
    return {
        batch for batch, shard in enumerate(shards) if is_done(storage, folder, plan, batch, shard)
    }


def own_shards(folder: RunFolder) -> list[str | None]:
    """Return for each batch the shard that it writes; None when all of it was cached."""
    return [batch.own_shard for batch in read_batches(folder)]


def is_done(storage: Storage, folder: RunFolder, plan: Plan, batch: int, shard: str | None) -> bool:
    """Return whether the result of one batch is in storage."""
    if plan.labelling:
        return folder.prediction_shard(batch).exists()
    if (folder.redo / str(batch)).exists():
        return False
    return shard is None or storage.shard(plan.backbone_id, shard).exists()
