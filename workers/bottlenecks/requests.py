"""What is asked about an image, and what comes out of it.

Apart from the files of a batch, since a process that computes images needs neither to read nor to
write those.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.images.distortions import Recipe


@dataclass(frozen=True)
class ImageResult:
    """What came out of one image: a bottleneck (float32, shape (k,)) or an error.

    Attributes:
        is_unreachable: Whether it could not be opened, or was not as planned; not in storage.
        warning: Why the bottleneck may be that of a damaged picture.
        hangs: Whether it hung the process that read it; not in storage either.
    """

    bottleneck: NDArray[np.float32] | None
    digest: bytes | None = None
    error: str | None = None
    is_unreachable: bool = False
    warning: str | None = None
    hangs: bool = False


class Request(NamedTuple):
    """One image to compute, or one variant of it.

    Attributes:
        planned: Size in bytes and version in ns; None when they were not planned.
    """

    path: str
    planned: tuple[int, int] | None = None
    recipe: Recipe | None = None

    @property
    def file(self) -> tuple[str, tuple[int, int] | None]:
        """Equal for requests that can share one decoded file."""
        return self.path, self.planned

    def identify(self, digest: bytes) -> bytes:
        """Return the digest of the image or variant, given that of the file."""
        return self.recipe.identify(digest) if self.recipe else digest
