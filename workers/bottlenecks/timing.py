"""Where the time of a worker goes, stage by stage: the program behind `poets bench`.

It computes images by the worker's own loop, to which it passes timed steps: the loop itself has no
clock.
"""

import functools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from workers.backbones.loading import Backbone, open_backbone
from workers.backbones.table import BackboneKey
from workers.bottlenecks.batches import Request
from workers.bottlenecks.computing import compute_results
from workers.images.loading import STEPS, Steps
from workers.processes.child import Tell, begin, serve
from workers.processes.heartbeat import Heartbeat
from workers.storage.layout import Storage

# In the order of the work; "other" is the loop itself.
STAGES = ("read", "hash", "decode", "resize", "forward", "other")
_UNCOUNTED = "uncounted"  # what a worker does not do
# Images per call of the loop: at least a chunk, then about 0.5 s of work, at most 64.
_PART_S, _MOST_IMAGES = 0.5, 64

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Timing:
    """What some images took.

    Attributes:
        images: Computed, or found to be unreadable.
        seconds: By stage; of "forward" as if every chunk had been full.
        reasons: Why images could not be read, with their number.
    """

    images: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    reasons: dict[str, int] = field(default_factory=dict)


def sum_timings(timings: Iterable[Timing]) -> Timing:
    """Return what all of the images took together."""
    images, seconds, reasons = 0, dict.fromkeys(STAGES, 0.0), Counter[str]()
    for timing in timings:
        images += timing.images
        seconds = {stage: seconds[stage] + timing.seconds[stage] for stage in STAGES}
        reasons.update(timing.reasons)
    return Timing(images, seconds, dict(reasons))


@dataclass(frozen=True)
class TimingRequest:
    """What the program is asked for.

    It answers None after each image, and now and then with the `Timing` of all so far.

    Attributes:
        files: Path, size in bytes and modification time in nanoseconds of each.
        limit_s: No images are begun after it.
        is_repeated: Whether to begin again after the last, until `limit_s`.
    """

    files: list[tuple[str, int, int]]
    limit_s: float
    is_repeated: bool = False


class StageClock:
    """Adds up the seconds of functions by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def timed(self, stage: str, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Return `function`, whose time is added to `stage` from now on."""

        @functools.wraps(function)
        def call(*arguments: _P.args, **named: _P.kwargs) -> _R:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return call

    def timed_steps(self, steps: Steps) -> Steps:
        """Return the steps of an image, timed."""
        return Steps(
            read=self.timed("read", steps.read),
            digest=self.timed("hash", steps.digest),
            decode=self.timed("decode", steps.decode),
            cut=self.timed("resize", steps.cut),
        )

    def by_stage(self, elapsed_s: float) -> dict[str, float]:
        """Return the seconds of all stages in a time of `elapsed_s`."""
        other = max(0.0, elapsed_s - sum(self.seconds.values()))
        return {stage: self.seconds[stage] for stage in STAGES[:-1]} | {"other": other}


class TimedBackbone:
    """A backbone whose time is added to a clock."""

    def __init__(self, backbone: Backbone, clock: StageClock) -> None:
        self.input_size, self.chunk = backbone.input_size, backbone.chunk
        self.bottleneck_size = backbone.bottleneck_size
        self._compute, self._clock = clock.timed("forward", backbone.compute), clock

    def compute(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Backbone.compute`."""
        seconds = self._clock.seconds
        before = seconds["forward"]
        bottlenecks = self._compute(pixels)
        # The last chunk of a call is padded. A worker's batch has few of them, a call here many.
        padding = -len(pixels) % self.chunk
        unneeded = (seconds["forward"] - before) * padding / max(1, len(pixels) + padding)
        seconds["forward"] -= unneeded
        seconds[_UNCOUNTED] += unneeded
        return bottlenecks


def time_images(
    requests: list[Request],
    backbone: Backbone,
    limit_s: float,
    on_image: Heartbeat,
    is_repeated: bool = False,
    steps: Steps = STEPS,
) -> Iterator[Timing]:
    """Yield what all images so far took, now and then and at the end.

    Args:
        limit_s, is_repeated: See `TimingRequest`.
        on_image: Called after every image; its time is not counted.
    """
    clock = StageClock()
    timed, timed_steps = TimedBackbone(backbone, clock), clock.timed_steps(steps)
    heartbeat = clock.timed(_UNCOUNTED, on_image)
    images, elapsed_s, reasons = 0, 0.0, Counter[str]()
    start, size = 0, backbone.chunk
    while start < len(requests) and elapsed_s < limit_s:
        part = requests[start : start + size]
        began = time.perf_counter()
        results = list(compute_results(part, timed, heartbeat, timed_steps))
        took_s = time.perf_counter() - began
        images, elapsed_s = images + len(part), elapsed_s + took_s
        reasons.update(result.error for result in results if result.error)
        yield Timing(images, clock.by_stage(elapsed_s), dict(reasons))
        if took_s < _PART_S / 2 and 2 * size <= _MOST_IMAGES:
            size *= 2
        start += len(part)
        if is_repeated:
            start %= len(requests)


def _answer(backbone: Backbone, asked: TimingRequest, tell: Tell) -> None:
    requests = [Request(path, (size, version)) for path, size, version in asked.files]
    on_image = functools.partial(tell, None)
    for timing in time_images(requests, backbone, asked.limit_s, on_image, asked.is_repeated):
        tell(timing)


def main() -> None:
    """Load a backbone, and time what the parent asks for."""
    root, key, device = begin()
    backbone = open_backbone(
        Storage(Path(root)), msgspec.json.decode(key, type=BackboneKey), device
    )
    # The first passes allocate, and are slower than all that follow.
    for _ in range(2):
        backbone.compute(np.zeros((backbone.chunk, *backbone.input_size, 3), np.uint8))
    serve(TimingRequest, functools.partial(_answer, backbone))


if __name__ == "__main__":
    main()
