"""The training images that 16 and 8 bits are calibrated with, and all formats checked with."""

from pathlib import Path

from workers.bottlenecks.batches import image_path
from workers.errors import RunError
from workers.storage.layout import RunFolder
from workers.storage.manifest import count_split, read_batches
from workers.storage.plan import Plan

_PHOTOGRAPHS = 200


def choose_photographs(model: Path, plan: Plan | None) -> tuple[list[tuple[str, int, int]], str]:
    """Return training images from all over a run, or the reason why there are none.

    Args:
        model: The model folder in the folder of its run.
        plan: None where the run that made the model is not in this storage.

    Returns:
        At most 200 of path, size in bytes and modification time in ns; and the reason.
    """
    if plan is None:
        return [], "the run that made this model is not here"
    run = RunFolder(model.parent)
    try:
        total = count_split(run, "training")
        wanted = min(_PHOTOGRAPHS, total)
        images = (image for batch in read_batches(run) for image in batch.images)
        training = (image for image in images if image.split == "training")
        # Evenly, since a manifest is in the order of the labels.
        chosen = [
            (image_path(plan, image), image.size, image.version)
            for i, image in enumerate(training)
            if i * wanted // total != (i + 1) * wanted // total
        ]
    except RunError as error:
        return [], f"the manifest of its run cannot be read ({error})"
    return chosen, ""
