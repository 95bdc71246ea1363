"""What storage says of the batches of a run."""

from collections.abc import Sequence

from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import Plan


def find_done(
    storage: Storage, folder: RunFolder, plan: Plan, shards: Sequence[str | None]
) -> set[int]:
    """Return the numbers of the batches whose result is in storage.

    Args:
        shards: The shard that each batch writes (`workers.storage.manifest.own_shards`).
    """
    return {
        batch for batch, shard in enumerate(shards) if is_done(storage, folder, plan, batch, shard)
    }


def is_done(storage: Storage, folder: RunFolder, plan: Plan, batch: int, shard: str | None) -> bool:
    """Return whether the result of one batch is in storage."""
    if plan.labelling:
        return folder.prediction_shard(batch).exists()
    if (folder.redo / str(batch)).exists():
        return False
    return shard is None or storage.shard(plan.backbone_id, shard).exists()
