"""The training images that 16 and 8 bits are calibrated with, and all formats checked with."""

from workers.bottlenecks.batches import image_path
from workers.errors import RunError
from workers.storage.manifest import count_split, read_batches
from workers.storage.plan import Run

_PHOTOGRAPHS = 200


def choose_photographs(run: Run | None) -> tuple[list[tuple[str, int, int]], str]:
    """Return training images from all over a run, or the reason why there are none.

    Args:
        run: The run that made the model, None where it is not in this storage.

    Returns:
        At most 200 of path, size in bytes and modification time in ns; and the reason.
    """
    if run is None:
        return [], "the run that made this model is not here"
    try:
        total = count_split(run.folder, "training")
        wanted = min(_PHOTOGRAPHS, total)
        images = (image for batch in read_batches(run.folder) for image in batch.images)
        training = (image for image in images if image.split == "training")
        # Evenly, since a manifest is in the order of the labels.
        chosen = [
            (image_path(run.plan, image), image.size, image.version)
            for i, image in enumerate(training)
            if i * wanted // total != (i + 1) * wanted // total
        ]
    except RunError as error:
        return [], f"the manifest of its run cannot be read ({error})"
    return chosen, ""
