"""Give up a batch that ends every worker that touches it: each image gets a row that says so."""

import numpy as np

from workers.backbones.table import find_spec
from workers.bottlenecks import ImageResult, image_uri
from workers.classification import write_batch_predictions
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import read_batch
from workers.storage.plan import Plan
from workers.storage.shards import Shard, write_shard


def quarantine_batch(
    storage: Storage, folder: RunFolder, plan: Plan, number: int, reason: str
) -> None:
    """Write the result of a batch in which every image has failed for `reason`.

    The rows have no digest, so no later run takes them from the cache.
    """
    batch = read_batch(folder, number)
    if plan.labelling:
        results = [ImageResult(None, None, reason)] * len(batch.images)
        write_batch_predictions(folder, plan.labelling, batch, results)
        return
    images = [image for image in batch.images if not image.is_cached]
    shard = Shard(
        uris=[image_uri(plan, image) for image in images],
        sizes=[image.size for image in images],
        versions=[image.version for image in images],
        digests=[None] * len(images),
        bottlenecks=np.zeros((len(images), find_spec(plan.architecture).bottleneck_size), "f4"),
        errors=[reason] * len(images),
    )
    if batch.own_shard:
        write_shard(storage.shard(plan.backbone_id, batch.own_shard), shard)
