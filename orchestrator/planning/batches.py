"""The rows of a manifest: each image and its variants, cut into batches, the unit of work."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.dataset.scan import FoundImage
from orchestrator.dataset.split import TRAINING
from orchestrator.planning.cache import CacheIndex
from workers.bottlenecks.batches import image_uri
from workers.errors import NoDistortionError, UsageError
from workers.storage.manifest import NOT_CACHED, PlannedImage
from workers.storage.plan import Plan, TrainingOptions
from workers.storage.shards import name_shard

DEFAULT_VARIANTS = 8
MOST_VARIANTS = 1000
_PERCENTS = ("random_crop", "random_scale", "random_brightness")


def choose_variants(options: TrainingOptions, asked: int | None) -> TrainingOptions:
    """Return the options with the number of variants, after checking the distortions.

    Args:
        asked: None for 8 when any distortion is given, else none.

    Raises:
        UsageError: When they are out of range, or do not go together.
    """
    for name in _PERCENTS:
        percent = getattr(options, name)
        if not 0 <= percent <= 100:
            words = name.replace("_", " ").capitalize()
            raise UsageError(f"{words} is a percentage from 0 to 100; it is {percent}.")
    if not options.distorts:
        if asked:
            raise NoDistortionError(
                f"{asked} variants of an image need a distortion, or all would be the same."
            )
        return replace(options, variants=0)
    variants = DEFAULT_VARIANTS if asked is None else asked
    if not 1 <= variants <= MOST_VARIANTS:
        raise UsageError(
            f"The variants of an image must be 1 to {MOST_VARIANTS}; they are {variants}."
        )
    return replace(options, variants=variants)


def plan_rows(
    plan: Plan, index: CacheIndex, images: Iterable[tuple[FoundImage, str | None]]
) -> Iterator[PlannedImage]:
    """Yield a row for each image with its split, followed by its variants.

    Only training images have variants. Validation and test are never distorted.
    """
    for found, split in images:
        image = _plan_image(plan, index, found, split)
        yield image
        if plan.training and split == TRAINING:
            for number in range(1, plan.training.variants + 1):
                yield _plan_variant(plan.training, index, image, number)


def _plan_image(
    plan: Plan, index: CacheIndex, image: FoundImage, split: str | None
) -> PlannedImage:
    known = index.find(plan.root, image)
    label = image.label if split else None
    cached = (known.shard, known.row, known.digest) if known else ("",)
    return PlannedImage(image.path, image.size, image.version, label, split, *cached)


def _plan_variant(
    options: TrainingOptions, index: CacheIndex, image: PlannedImage, number: int
) -> PlannedImage:
    recipe = options.recipe(number)
    # By content alone: that of the image is known, or else the variant is new as well.
    digest = recipe.identify(image.digest) if recipe and image.digest else None
    known = index.find_content(digest) if digest else None
    variant = replace(image, shard="", shard_row=NOT_CACHED, digest=None, variant=number)
    if known is None:
        return variant
    return replace(variant, shard=known.shard, shard_row=known.row, digest=known.digest)


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
