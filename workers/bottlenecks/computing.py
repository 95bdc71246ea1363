"""Compute bottlenecks chunk by chunk; each file is read and decoded once for all its variants."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from workers.backbones.loading import Backbone
from workers.bottlenecks.requests import ImageResult, Request
from workers.errors import ImageError, UnreachableError
from workers.images.distortions import PLAIN, Draw
from workers.images.loading import STEPS, ContentError, OpenImage, Steps
from workers.processes.heartbeat import Heartbeat


def compute_results(
    images: Iterable[Request], backbone: Backbone, heartbeat: Heartbeat, steps: Steps = STEPS
) -> Iterator[ImageResult]:
    """Yield one result for each request, in order; a file and its variants are decoded once.

    Args:
        heartbeat: Called after every picture.
    """
    chunk = _Chunk(backbone)
    for _, requests in itertools.groupby(images, key=lambda request: request.file):
        yield from _compute_file(list(requests), chunk, heartbeat, steps)
    yield from chunk.compute()


def _compute_file(
    requests: list[Request], chunk: "_Chunk", heartbeat: Heartbeat, steps: Steps
) -> Iterator[ImageResult]:
    """Add the requests of one file to the chunk; yield the results of each that is full."""
    path, planned = requests[0].file
    done = 0
    try:
        image = OpenImage(path, chunk.input_size, planned, steps)
        for request in requests:
            draw = request.recipe.draw(image.digest) if request.recipe else PLAIN
            chunk.add(image, draw, request.identify(image.digest))
            done += 1
            heartbeat()
            if chunk.is_full:
                yield from chunk.compute()
    except ImageError as error:
        digest = error.digest if isinstance(error, ContentError) else None
        for request in requests[done:]:
            identity = None if digest is None else request.identify(digest)
            is_unreachable = isinstance(error, UnreachableError)
            chunk.waiting.append((None, identity, str(error), is_unreachable, None))
        heartbeat()


class _Chunk:
    """Pictures that go through the backbone together, and the results that wait for them."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.input_size = backbone.input_size
        self._pixels = np.empty((backbone.chunk, *backbone.input_size, 3), np.uint8)
        self._rows: dict[tuple[bytes, Draw], int] = {}
        # In order: row of the bottleneck, and the rest of an ImageResult.
        self.waiting: list[tuple[int | None, bytes | None, str | None, bool, str | None]] = []

    @property
    def is_full(self) -> bool:
        return len(self._rows) == self._backbone.chunk

    def add(self, image: OpenImage, draw: Draw, digest: bytes) -> None:
        # Draws are often equal: with flips alone an image has only two pictures.
        key = (image.digest, draw)
        if key not in self._rows:
            self._pixels[len(self._rows)] = image.cut(draw)
            self._rows[key] = len(self._rows)
        self.waiting.append((self._rows[key], digest, None, False, image.warning))

    def compute(self) -> Iterator[ImageResult]:
        """Yield the results of what was added, in order, and empty the chunk."""
        rows, waiting = len(self._rows), self.waiting
        self._rows, self.waiting = {}, []
        bottlenecks = self._backbone.compute(self._pixels[:rows])
        for row, digest, error, is_unreachable, warning in waiting:
            bottleneck = None if row is None else bottlenecks[row]
            yield ImageResult(bottleneck, digest, error, is_unreachable, warning)
