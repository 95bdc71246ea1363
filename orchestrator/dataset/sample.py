"""A random sample of the images of a folder that may hold millions."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.dataset.scan import FoundImage, describe_no_images, stream_folder
from orchestrator.progress import OnProgress
from workers.errors import DatasetError


@dataclass(frozen=True)
class Sample:
    """Images drawn from a folder, in random order.

    Attributes:
        root: The folder, as `encode_name` writes it.
        found: Number of images that were drawn from.
        mean_bytes: Their mean size.
        is_whole: Whether the whole folder was read; if not, the time was up.
    """

    root: str
    images: tuple[FoundImage, ...]
    found: int
    mean_bytes: float
    is_whole: bool


def draw_sample(
    folder: Path, most: int, limit_s: float, on_progress: OnProgress, seed: int = 0
) -> Sample:
    """Return up to `most` images of a folder, each as likely as any other (reservoir sampling).

    Args:
        limit_s: Seconds after which the rest of the folder is not read.

    Raises:
        DatasetError: When the folder is missing, cannot be read, or holds no image.
    """
    scan = stream_folder(folder, on_progress)
    generator = random.Random(seed)  # noqa: S311 - nothing secret
    drawn: list[FoundImage] = []
    began, found, size, is_whole = time.monotonic(), 0, 0, True
    for image in scan.images:
        found += 1
        size += image.size
        if len(drawn) < most:
            drawn.append(image)
        elif (index := generator.randrange(found)) < most:
            drawn[index] = image
        if time.monotonic() - began > limit_s:
            is_whole = False
            break
    if not drawn:
        raise DatasetError(describe_no_images(scan))
    generator.shuffle(drawn)
    return Sample(scan.root, tuple(drawn), found, size / found, is_whole)
