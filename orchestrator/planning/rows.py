"""The rows of a manifest: each image, and the variants of those that the head learns from."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.dataset.scan import FoundImage
from orchestrator.dataset.split import TRAINING
from orchestrator.planning.cache import CacheIndex
from workers.errors import UsageError
from workers.storage.manifest import NOT_CACHED, PlannedImage
from workers.storage.plan import Plan, TrainingOptions

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
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} is a percentage from 0 to 100; it is {percent}.")
    if not options.distorts:
        if asked:
            raise UsageError(
                f"--variants {asked} needs a distortion, or all variants would be the same. Add "
                "--flip-left-right, --random-crop, --random-scale or --random-brightness."
            )
        return replace(options, variants=0)
    variants = DEFAULT_VARIANTS if asked is None else asked
    if not 1 <= variants <= MOST_VARIANTS:
        raise UsageError(
            f"--variants must be 1 to {MOST_VARIANTS} with distortions; it is {variants}."
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
