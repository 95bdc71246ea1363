"""Cut the images of a plan into batches, the unit of work."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from workers.bottlenecks.batches import image_uri
from workers.storage.manifest import PlannedImage
from workers.storage.plan import Plan
from workers.storage.shards import name_shard

# A batch ends at its number of new images, or at this many images in all: those whose
# bottlenecks are known already cost next to nothing.
_MOST_KNOWN = 4096
# New images a batch. A message, a lease and a file cost a core some 12 ms, the time of three
# images with the default backbone: 8 % of a batch of 32, but 2 % of one of 128. At the end of
# a run a core waits for the last batch, so small sets have small ones; and more than 512
# would lose much when a worker dies. From a million images on there are about 2,048 batches,
# as long as 2,048 images are enough: every process that opens the manifest holds 9 KB of its
# footer a batch. With more, a slow core with a large backbone would not be done in the time of a
# task. Memory does not matter: a batch holds no pixels.
FEWEST_IMAGES, ENOUGH_IMAGES, MOST_IMAGES = 32, 512, 2048


def choose_batch_size(images: int) -> int:
    """Return images a task: small sets keep every core busy, large ones few files."""
    size = max(FEWEST_IMAGES, min(ENOUGH_IMAGES, images // 64), images // 2048)
    return min(MOST_IMAGES, size - size % 8)


def cut_batches(
    plan: Plan, images: Iterable[PlannedImage], unsettled: set[str]
) -> Iterator[tuple[PlannedImage, ...]]:
    """Yield the batches of a plan, each with the name of the shard for its new images.

    A batch may be a little longer than asked for: an image and its variants stay together.

    Args:
        unsettled: Shards that must not be taken over (see `CacheIndex`).
    """
    batch: list[PlannedImage] = []
    new, is_full = 0, False
    for number, image in enumerate(images):
        if is_full and not image.variant:
            yield _with_own_shard(plan, batch, unsettled)
            batch, new = [], 0
        batch.append(image)
        new += not image.is_cached
        # How many there will be is not known yet, so batches grow as the images come.
        size = plan.batch_size or choose_batch_size(number)
        is_full = new >= size or len(batch) >= _MOST_KNOWN
    if batch:
        yield _with_own_shard(plan, batch, unsettled)


def _with_own_shard(
    plan: Plan, batch: list[PlannedImage], unsettled: set[str]
) -> tuple[PlannedImage, ...]:
    identities = [
        (image_uri(plan, image), image.size, image.version)
        for image in batch
        if not image.is_cached
    ]
    own = name_shard(plan.backbone_id, identities)
    while own in unsettled:
        own = name_shard(own, identities)
    return tuple(image if image.is_cached else replace(image, shard=own) for image in batch)
