"""Compute bottlenecks chunk by chunk; each file is read and decoded once for all its variants."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from workers.backbones.loading import Backbone
from workers.bottlenecks.batches import ImageResult, Request
from workers.errors import ImageError
from workers.images.distortions import PLAIN, Draw
from workers.images.loading import ContentError, OpenImage
from workers.processes.heartbeat import Heartbeat


def compute_results(
    images: list[Request], backbone: Backbone, heartbeat: Heartbeat
) -> Iterable[ImageResult]:
    """Yield one result for each request, in order; a file and its variants are decoded once.

    Args:
        heartbeat: Called after every picture, to show that the work goes on.
    """
    chunk = _Chunk(backbone)
    for _, requests in itertools.groupby(images, key=lambda request: request.file):
        yield from _compute_file(list(requests), chunk, heartbeat)
    yield from chunk.compute()


def _compute_file(
    requests: list[Request], chunk: "_Chunk", heartbeat: Heartbeat
) -> Iterator[ImageResult]:
    """Add the requests of one file to the chunk; yield the results of each that is full."""
    path, planned = requests[0].file
    done = 0
    try:
        image = OpenImage(path, chunk.input_size, planned)
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
            chunk.fail(ImageResult(None, digest and request.identify(digest), str(error)))
        heartbeat()


class _Chunk:
    """Pictures that go through the backbone together."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.input_size = backbone.input_size
        self._pixels = np.empty((backbone.chunk, *backbone.input_size, 3), np.uint8)
        self._rows: dict[tuple[bytes, Draw], int] = {}
        self._results: list[ImageResult | tuple[int, bytes]] = []

    @property
    def is_full(self) -> bool:
        return len(self._rows) == self._backbone.chunk

    def add(self, image: OpenImage, draw: Draw, digest: bytes) -> None:
        # Draws are often equal: with flips alone there are but two pictures of an image.
        key = (image.digest, draw)
        if key not in self._rows:
            self._pixels[len(self._rows)] = image.cut(draw)
            self._rows[key] = len(self._rows)
        self._results.append((self._rows[key], digest))

    def fail(self, result: ImageResult) -> None:
        self._results.append(result)

    def compute(self) -> Iterator[ImageResult]:
        """Yield the results of what was added, in order, and begin anew."""
        rows, results = len(self._rows), self._results
        self._rows, self._results = {}, []
        bottlenecks = self._backbone.compute(self._pixels[:rows])
        for result in results:
            if isinstance(result, ImageResult):
                yield result
            else:
                yield ImageResult(bottlenecks[result[0]], result[1])
