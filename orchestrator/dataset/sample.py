"""A random sample of the images of a folder, which may hold millions."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.dataset.scan import FoundImage, stream_folder
from orchestrator.progress import OnProgress
from workers.errors import DatasetError


@dataclass(frozen=True)
class Sample:
    """Images drawn from a folder, in random order.

    Attributes:
        root: The folder, as `encode_name` writes it.
        found: Images that were drawn from.
        mean_bytes: Their mean size.
        is_whole: Whether these are all there are; else the time was up.
    """

    root: str
    images: tuple[FoundImage, ...]
    found: int
    mean_bytes: float
    is_whole: bool

    def limited(self, count: int) -> "Sample":
        """Return the same sample with its first `count` images only."""
        return replace(self, images=self.images[:count])


def draw_sample(
    folder: Path, most: int, limit_s: float, on_progress: OnProgress, seed: int = 0
) -> Sample:
    """Return up to `most` images of a folder, each as likely as any other (reservoir sampling).

    Args:
        limit_s: The folder is left unread from then on.

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
        elif (place := generator.randrange(found)) < most:
            drawn[place] = image
        if time.monotonic() - began > limit_s:
            is_whole = False
            break
    if not drawn:
        ignored = f" Ignored: {scan.ignored_text}." if scan.ignored else ""
        raise DatasetError(f"There is no image below {str(folder)!r}.{ignored} Check the path.")
    generator.shuffle(drawn)
    return Sample(scan.root, tuple(drawn), found, size / found, is_whole)
