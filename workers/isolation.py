"""A batch whose first attempt died is computed in a process of its own, image by image.

The parent knows which image is being worked on, so an image that kills the process,
hangs it or eats its memory is named at once and becomes a row with that reason; any
number of such images in one batch costs two attempts, and a process that was killed
from outside costs its image one retry, never a wrong verdict.
"""

import base64
import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, cast

import numpy as np

from workers.bottlenecks import ImageResult, Request, compute_results
from workers.errors import StorageError
from workers.lifeline import end_with_parent
from workers.storage.layout import Storage
from workers.storage.plan import Plan

IMAGE_TIMEOUT_S = 60.0
START_TIMEOUT_S = 120.0
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
        timeout_s: For one image.

    Raises:
        StorageError: When the process cannot even start working.
    """
    child: _Child | None = None
    try:
        for image in images:
            for last in (False, True):
                child = child or _Child(storage, plan, beat)
                try:
                    yield child.compute(image, timeout_s)
                    break
                except _DeathError as died:
                    child.stop()
                    child = None
                    if last:
                        yield ImageResult(None, None, str(died))
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

    def compute(self, image: Request, timeout_s: float) -> ImageResult:
        path, planned = image
        request = json.dumps([base64.b64encode(os.fsencode(path)).decode(), planned])
        try:
            self._stdin.write(request.encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError as error:
            raise _DeathError(self._cause()) from error
        answer = json.loads(self._read_line(timeout_s))
        bottleneck = None
        if answer["bottleneck"] is not None:
            bottleneck = np.frombuffer(base64.b64decode(answer["bottleneck"]), np.float32)
        digest = bytes.fromhex(answer["digest"]) if answer["digest"] else None
        return ImageResult(bottleneck, digest, answer["error"])

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
        encoded, planned = json.loads(line)
        expected = tuple(planned) if planned else None
        image = (os.fsdecode(base64.b64decode(encoded)), expected)
        (result,) = compute_results([image], backbone, lambda: None)
        numbers = result.bottleneck
        answer = {
            "bottleneck": None if numbers is None else base64.b64encode(numbers.tobytes()).decode(),
            "digest": result.digest.hex() if result.digest else None,
            "error": result.error,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    end_with_parent(parent=int(sys.argv[3]))
    _serve(Storage(Path(sys.argv[1])), json.loads(sys.argv[2]))
