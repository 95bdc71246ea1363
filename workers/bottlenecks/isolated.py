"""A batch whose first attempt died is computed in another process, image by image.

The parent knows which image is being worked on, so an image that kills the process, hangs it or
eats its memory is named at once and becomes a row with that reason; any number of such images in
one batch costs two attempts. An image and its variants share the file, so they share its fate.
"""

import itertools
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

import numpy as np

from workers.backbones.loading import open_backbone
from workers.backbones.table import BackboneKey
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import ImageResult, Request
from workers.processes.child import (
    IMAGE_TIMEOUT_S,
    Child,
    DeathError,
    Tell,
    begin,
    limit_memory,
    serve,
)
from workers.processes.heartbeat import Heartbeat, no_heartbeat
from workers.storage.layout import Storage

_REQUESTS_A_TIMEOUT = 16


# Bottleneck (float32), and the rest of an `ImageResult`.
_Answer = tuple[bytes | None, bytes | None, str | None, bool, str | None]


def compute_isolated(
    storage: Storage,
    key: BackboneKey,
    images: list[Request],
    heartbeat: Heartbeat,
    timeout_s: float = IMAGE_TIMEOUT_S,
) -> Iterable[ImageResult]:
    """Yield one result for each image, whatever the images do.

    Args:
        heartbeat: Called after each image, and while one is awaited.
        timeout_s: For one image with up to fifteen variants; more get more.

    Raises:
        StorageError: When the process cannot even start working.
    """
    arguments = [str(storage.root), *astuple(key)]
    child: Child[list[_Answer]] = Child(
        "workers.bottlenecks.isolated", arguments, list[_Answer], heartbeat
    )
    with child:
        for _, group in itertools.groupby(images, key=lambda request: request.file):
            requests = list(group)
            enough_s = timeout_s * (1 + len(requests) // _REQUESTS_A_TIMEOUT)
            try:
                for numbers, digest, error, is_unreachable, warning in child.ask(
                    requests, enough_s
                ):
                    bottleneck = None if numbers is None else np.frombuffer(numbers, np.float32)
                    yield ImageResult(bottleneck, digest, error, is_unreachable, warning)
            except DeathError as died:
                yield from [ImageResult(None, None, str(died), hangs=died.is_hang)] * len(requests)
            heartbeat()


def main() -> None:
    """Compute what the parent asks for."""
    root, *key = begin()
    # On a GPU too: the question is whether the image is poison, not how fast it is.
    backbone = open_backbone(Storage(Path(root)), BackboneKey(*key), "cpu")
    limit_memory()

    def answer(requests: list[Request], tell: Tell) -> None:
        results = compute_results(requests, backbone, no_heartbeat)
        tell(
            [
                (
                    None if one.bottleneck is None else one.bottleneck.tobytes(),
                    one.digest,
                    one.error,
                    one.is_unreachable,
                    one.warning,
                )
                for one in results
            ]
        )

    serve(list[Request], answer)


if __name__ == "__main__":
    main()
