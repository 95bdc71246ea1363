"""Where the time of a worker goes, stage by stage: the program behind `poets bench`.

``python -P -m workers.bottlenecks.timing STORAGE IDENTITY DEVICE PARENT`` computes the images it is
told by the worker's own loop. The stages are timed from outside, in this process alone, so
that the loop stays free of clocks.
"""

import base64
import functools
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from workers.backbones.loading import Backbone, open_backbone
from workers.backbones.table import BackboneKey
from workers.bottlenecks.batches import Request
from workers.bottlenecks.computing import compute_results
from workers.images.loading import STEPS, Steps
from workers.processes.heartbeat import Heartbeat
from workers.processes.parent_death import end_with_parent
from workers.storage.layout import Storage

# In the order of the work; "other" is what the loop itself takes.
STAGES = ("read", "hash", "decode", "resize", "forward", "other")
_TELL = "tell"  # no stage: a worker has nobody to tell
# Images a call of the loop: so many as take about this long, but no more than so many.
_PART_S, _MOST_IMAGES = 0.5, 64


@dataclass
class Timing:
    """What some images took.

    Attributes:
        images: Taken up, those included that cannot be read.
        seconds: By stage; of "forward" as if every chunk had been full.
        reasons: Why images could not be read, with their number.
    """

    images: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    reasons: dict[str, int] = field(default_factory=dict)


class Clock:
    """Notes the seconds of functions by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, which notes its time under `stage` from now on."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return call

    def steps(self) -> Steps:
        """Return the steps of an image, timed."""
        return Steps(
            read=self.timed("read", STEPS.read),
            digest=self.timed("hash", STEPS.digest),
            decode=self.timed("decode", STEPS.decode),
            cut=self.timed("resize", STEPS.cut),
        )


class TimedBackbone:
    """A backbone that notes its time, and how full its chunks were."""

    def __init__(self, backbone: Backbone, clock: Clock) -> None:
        self.input_size, self.chunk = backbone.input_size, backbone.chunk
        self.bottleneck_size = backbone.bottleneck_size
        self.rows = self.places = 0
        self._compute = clock.timed("forward", backbone.compute)

    def compute(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return as `Backbone.compute`."""
        self.rows += len(pixels)
        self.places += -(-len(pixels) // self.chunk) * self.chunk
        return cast(NDArray[np.float32], self._compute(pixels))


def time_images(
    requests: list[Request],
    backbone: Backbone,
    clock: Clock,
    limit_s: float,
    heartbeat: Heartbeat,
    is_repeated: bool = False,
) -> Iterator[Timing]:
    """Yield what was measured so far, now and then, and at the end.

    Args:
        limit_s: No images are begun after it.
        heartbeat: Called after every image.
        is_repeated: Whether to begin again after the last, until `limit_s`.
    """
    timed, lap, elapsed_s = TimedBackbone(backbone, clock), Timing(), 0.0
    timed_beat, steps = clock.timed(_TELL, heartbeat), clock.steps()
    start, size = 0, backbone.chunk
    clock.seconds.clear()
    while start < len(requests) and elapsed_s < limit_s:
        part = requests[start : start + size]
        began = time.perf_counter()
        results = list(compute_results(part, timed, timed_beat, steps))
        elapsed_s += time.perf_counter() - began
        errors = [result.error for result in results if result.error]
        lap.reasons = dict(Counter(lap.reasons) + Counter(errors))
        lap.images += len(part)
        lap.seconds = _by_stage(clock, timed, elapsed_s)
        yield lap
        size = _next_size(lap.images * _PART_S / elapsed_s, backbone.chunk)
        start += len(part)
        if is_repeated and start >= len(requests):
            start = 0


def _by_stage(clock: Clock, timed: TimedBackbone, elapsed_s: float) -> dict[str, float]:
    seconds: dict[str, float] = {stage: clock.seconds[stage] for stage in STAGES}
    seconds["other"] = max(0.0, elapsed_s - sum(clock.seconds.values()))
    # The last chunk of a call is padded. A worker's batch has few of them, a call here many.
    seconds["forward"] *= timed.rows / timed.places if timed.places else 1
    return seconds


def _next_size(images_wanted: float, chunk: int) -> int:
    chunks = min(images_wanted, _MOST_IMAGES) // chunk
    return max(1, int(chunks)) * chunk


def encode_request(
    files: list[tuple[str, int, int]], limit_s: float, beats: bool, is_repeated: bool
) -> str:
    """Return a line that this program understands.

    Args:
        files: Path, size in bytes and modification time in nanoseconds of each.
        beats: Whether to say after every image that it is done.
    """
    names = [(base64.b64encode(os.fsencode(path)).decode(), *rest) for path, *rest in files]
    return json.dumps([names, limit_s, beats, is_repeated]) + "\n"


def _decode_request(line: str) -> tuple[list[Request], float, bool, bool]:
    files, limit_s, beats, is_repeated = json.loads(line)
    requests = [
        Request(os.fsdecode(base64.b64decode(name)), (size, version))
        for name, size, version in files
    ]
    return requests, limit_s, beats, is_repeated


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Say "ready", read one request, and print a line for each image (".") and each lap."""
    root, key, device, parent = sys.argv[1:]
    end_with_parent(parent=int(parent))
    backbone = open_backbone(Storage(Path(root)), BackboneKey(*json.loads(key)), device)
    # The first passes allocate, and are slower than all that follow.
    for _ in range(2):
        backbone.compute(np.zeros((backbone.chunk, *backbone.input_size, 3), np.uint8))
    clock = Clock()
    _tell("ready")
    requests, limit_s, beats, is_repeated = _decode_request(sys.stdin.readline())
    heartbeat = functools.partial(_tell, ".") if beats else lambda: None
    lap = Timing()
    for lap in time_images(requests, backbone, clock, limit_s, heartbeat, is_repeated):
        if beats:
            _tell(json.dumps(asdict(lap)))
    _tell(json.dumps({**asdict(lap), "is_last": True}))


if __name__ == "__main__":
    main()
