"""A batch whose first attempt died is computed in a process of its own, image by image.

The parent knows which image is being worked on, so an image that kills the process,
hangs it or eats its memory is named at once and becomes a row with that reason; any
number of such images in one batch costs two attempts, and a process that was killed
from outside costs its image one retry, never a wrong verdict. An image and its variants
share the file, so they share its fate.
"""

import base64
import contextlib
import itertools
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, cast

import numpy as np

from workers.bottlenecks import ImageResult, Request
from workers.chunks import compute_results
from workers.distortions import Recipe
from workers.errors import StorageError
from workers.lifeline import end_with_parent
from workers.storage.layout import Storage
from workers.storage.plan import Plan

IMAGE_TIMEOUT_S = 60.0
START_TIMEOUT_S = 120.0
_REQUESTS_A_TIMEOUT = 16
# Decoding the largest image allowed takes 0.8 GB (RGB) to 3 GB (floating-point grey).
MEMORY_BYTES = 4 * 1024**3


class _DeathError(Exception):
    """The process ended or hung; the message is the reason for the image."""


def compute_isolated(
    storage: Storage,
    plan: Plan,
    images: list[Request],
    beat: Callable[[], None],
    timeout_s: float = IMAGE_TIMEOUT_S,
) -> Iterable[ImageResult]:
    """Yield one result for each image, whatever the images do.

    Args:
        beat: Called whenever the process has shown progress.
        timeout_s: For one image with up to fifteen variants; more get more.

    Raises:
        StorageError: When the process cannot even start working.
    """
    child: _Child | None = None
    try:
        for _, group in itertools.groupby(images, key=lambda request: request.file):
            requests = list(group)
            for last in (False, True):
                child = child or _Child(storage, plan, beat)
                try:
                    results = child.compute(requests, timeout_s)
                    break
                except _DeathError as died:
                    child.stop()
                    child = None
                    if last:
                        results = [ImageResult(None, None, str(died))] * len(requests)
            yield from results
            beat()
    finally:
        if child:
            child.stop()


class _Child:
    def __init__(self, storage: Storage, plan: Plan, beat: Callable[[], None]) -> None:
        self._beat = beat
        identity = [plan.architecture, plan.backbone_id, plan.weights_digest]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "workers.isolation",
                str(storage.root),
                json.dumps(identity),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        try:
            self._read_line(START_TIMEOUT_S)
        except _DeathError as died:
            self.stop()
            raise StorageError(f"The process for single images cannot start: {died}.") from died

    def compute(self, requests: list[Request], timeout_s: float) -> list[ImageResult]:
        """Return the results of the requests for one file."""
        path, planned = requests[0].file
        recipes = [request.recipe and asdict(request.recipe) for request in requests]
        question = json.dumps([base64.b64encode(os.fsencode(path)).decode(), planned, recipes])
        try:
            self._stdin.write(question.encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError as error:
            raise _DeathError(self._cause()) from error
        enough_s = timeout_s * (1 + len(requests) // _REQUESTS_A_TIMEOUT)
        return [_from_json(answer) for answer in json.loads(self._read_line(enough_s))]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()

    def _read_line(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while not select.select([self._stdout], [], [], 0.5)[0]:
            self._beat()
            if time.monotonic() > deadline:
                raise _DeathError(f"hangs: gave no result within {timeout_s:.0f} s")
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise _DeathError(self._cause())
        return line

    def _cause(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"killed the process that read it ({signal.Signals(-code).name})"
        return f"ended the process that read it (exit code {code})"


def _serve(storage: Storage, identity: tuple[str, str, str]) -> None:
    from workers.backbones.loading import open_backbone

    # On a GPU too: the question is whether the image is poison, not how fast it is.
    backbone = open_backbone(storage, *identity, "cpu")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
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
    _serve(Storage(Path(sys.argv[1])), json.loads(sys.argv[2]))
