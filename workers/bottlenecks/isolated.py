"""A batch whose first attempt died is computed in a process of its own, image by image.

The parent knows which image is being worked on, so an image that kills the process,
hangs it or eats its memory is named at once and becomes a row with that reason; any
number of such images in one batch costs two attempts, and a process that was killed
from outside costs its image one retry, never a wrong verdict. An image and its variants
share the file, so they share its fate.
"""

import base64
import itertools
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np

from workers.backbones.table import BackboneKey
from workers.bottlenecks.batches import ImageResult, Request
from workers.bottlenecks.computing import compute_results
from workers.images.distortions import Recipe
from workers.processes.child import IMAGE_TIMEOUT_S, Child, DeathError, limit_memory
from workers.processes.heartbeat import Heartbeat
from workers.processes.parent_death import end_with_parent
from workers.storage.layout import Storage

_REQUESTS_A_TIMEOUT = 16


def compute_isolated(
    storage: Storage,
    key: BackboneKey,
    images: list[Request],
    heartbeat: Heartbeat,
    timeout_s: float = IMAGE_TIMEOUT_S,
) -> Iterable[ImageResult]:
    """Yield one result for each image, whatever the images do.

    Args:
        heartbeat: Called whenever the process has shown progress.
        timeout_s: For one image with up to fifteen variants; more get more.

    Raises:
        StorageError: When the process cannot even start working.
    """
    arguments = [str(storage.root), json.dumps(astuple(key))]
    child = Child("workers.bottlenecks.isolated", arguments, heartbeat)
    try:
        for _, group in itertools.groupby(images, key=lambda request: request.file):
            requests = list(group)
            try:
                yield from _compute(child, requests, timeout_s)
            except DeathError as died:
                yield from [ImageResult(None, None, str(died))] * len(requests)
            heartbeat()
    finally:
        child.stop()


def _compute(child: Child, requests: list[Request], timeout_s: float) -> list[ImageResult]:
    """Return the results of the requests for one file."""
    path, planned = requests[0].file
    recipes = [request.recipe and asdict(request.recipe) for request in requests]
    question = json.dumps([base64.b64encode(os.fsencode(path)).decode(), planned, recipes])
    enough_s = timeout_s * (1 + len(requests) // _REQUESTS_A_TIMEOUT)
    answers = json.loads(child.ask(question.encode(), enough_s))
    return [_from_json(answer) for answer in answers]


def _serve(storage: Storage, key: BackboneKey) -> None:
    from workers.backbones.loading import open_backbone

    # On a GPU too: the question is whether the image is poison, not how fast it is.
    backbone = open_backbone(storage, key, "cpu")
    limit_memory()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        encoded, planned, recipes = json.loads(line)
        path = os.fsdecode(base64.b64decode(encoded))
        expected = tuple(planned) if planned else None
        requests = [
            Request(path, expected, Recipe(**recipe) if recipe else None) for recipe in recipes
        ]
        answers = [_to_json(result) for result in compute_results(requests, backbone, lambda: None)]
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


def _to_json(result: ImageResult) -> dict[str, str | None]:
    numbers = result.bottleneck
    return {
        "bottleneck": None if numbers is None else base64.b64encode(numbers.tobytes()).decode(),
        "digest": result.digest.hex() if result.digest else None,
        "error": result.error,
    }


def _from_json(answer: dict[str, str | None]) -> ImageResult:
    numbers, digest = answer["bottleneck"], answer["digest"]
    return ImageResult(
        None if numbers is None else np.frombuffer(base64.b64decode(numbers), np.float32),
        bytes.fromhex(digest) if digest else None,
        answer["error"],
    )


if __name__ == "__main__":
    end_with_parent(parent=int(sys.argv[3]))
    _serve(Storage(Path(sys.argv[1])), BackboneKey(*json.loads(sys.argv[2])))
