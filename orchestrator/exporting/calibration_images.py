"""The training images that 16 and 8 bits are calibrated by, and all formats are checked with."""

from workers.bottlenecks.batches import image_path
from workers.errors import RunError
from workers.storage.layout import RunFolder
from workers.storage.manifest import count_split, read_batches
from workers.storage.plan import Plan

_PHOTOGRAPHS = 200


def choose_photographs(run: RunFolder, plan: Plan | None) -> tuple[list[tuple[str, int, int]], str]:
    """Return training images from all over a run, or why there are none.

    Args:
        plan: None where the run that made a model is not in this storage.

    Returns:
        At most 200 of path, size in bytes and modification time in ns; and the reason.
    """
    if plan is None:
        return [], "the run that made this model is not here"
    chosen: list[tuple[str, int, int]] = []
    try:
        images = count_split(run, "training")
        wanted = min(_PHOTOGRAPHS, images)
        place = 0
        for batch in read_batches(run):
            for image in batch.images:
                if image.split != "training":
                    continue
                # Evenly, since a manifest is in the order of the labels.
                if place * wanted // images != (place + 1) * wanted // images:
                    chosen.append((image_path(plan, image), image.size, image.version))
                place += 1
    except RunError as error:
        return [], f"the run's own list cannot be read ({error})"
    return chosen, ""
