"""Where the time of a worker goes, stage by stage: the program behind `poets bench`.

It computes images by the worker's own loop, to which it passes timed steps: the loop itself has no
clock.
"""

import functools
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from workers.backbones.loading import Backbone, open_backbone
from workers.backbones.table import BackboneKey
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request
from workers.images.loading import STEPS, Steps
from workers.processes.child import Tell, begin, serve
from workers.storage.layout import Storage

# In the order of the work; "other" is the loop itself.
STAGES = ("read", "hash", "decode", "resize", "forward", "other")
_UNCOUNTED = "uncounted"  # what a worker does not do

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Timing:
    """What some images took.

    Attributes:
        tried: Images that were read; the results of the last few may not be there yet.
        images: Computed, or found to be unreadable; the rest of the fields is about them.
        seconds: By stage; of "forward" as if every chunk had been full.
        reasons: Why images could not be read, with their number.
    """

    tried: int = 0
    images: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    reasons: dict[str, int] = field(default_factory=dict)


def sum_timings(timings: Iterable[Timing]) -> Timing:
    """Return what all of the images took together."""
    all_of_them = list(timings)
    return Timing(
        sum(one.tried for one in all_of_them),
        sum(one.images for one in all_of_them),
        {stage: sum(one.seconds[stage] for one in all_of_them) for stage in STAGES},
        dict(sum((Counter(one.reasons) for one in all_of_them), Counter())),
    )


@dataclass(frozen=True)
class TimingRequest:
    """What the program is asked for; it answers with the `Timing` of all so far after each image.

    Attributes:
        limit_s: No images are begun after it.
        is_repeated: Whether to begin again after the last, until `limit_s`.
    """

    images: list[Request]
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
        self._compute, self._seconds = clock.timed("forward", backbone.compute), clock.seconds

    def compute(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Backbone.compute`."""
        before = self._seconds["forward"]
        bottlenecks = self._compute(pixels)
        # The last chunk of a call is padded. A worker's batch has few of them, a call here many.
        padding = -len(pixels) % self.chunk
        unneeded = (self._seconds["forward"] - before) * padding / max(1, len(pixels) + padding)
        self._seconds["forward"] -= unneeded
        self._seconds[_UNCOUNTED] += unneeded
        return bottlenecks


def time_images(
    asked: TimingRequest, backbone: Backbone, tell: Callable[[Timing], None], steps: Steps = STEPS
) -> None:
    """Compute images and `tell` what all so far took: after each, and at the end."""
    clock, timing, start = StageClock(), Timing(), time.perf_counter()
    reasons: Counter[str] = Counter()
    timed_backbone, timed_steps = TimedBackbone(backbone, clock), clock.timed_steps(steps)

    def is_time_left(_: object = None) -> bool:
        return time.perf_counter() - start < asked.limit_s

    def on_image() -> None:
        nonlocal timing
        timing = replace(timing, tried=timing.tried + 1)
        tell(timing)

    heartbeat = clock.timed(_UNCOUNTED, on_image)
    while is_time_left():
        images = itertools.takewhile(is_time_left, asked.images)
        for result in compute_results(images, timed_backbone, heartbeat, timed_steps):
            # The results of a chunk come at once: with its last, all that was timed is theirs.
            reasons.update([result.error] if result.error else [])
            seconds = clock.by_stage(time.perf_counter() - start)
            timing = Timing(timing.tried, timing.images + 1, seconds, dict(reasons))
        if not asked.is_repeated:
            break
    tell(timing)


def main() -> None:
    """Load a backbone, and time what the parent asks for."""
    root, device, *key = begin()
    backbone = open_backbone(Storage(Path(root)), BackboneKey(*key), device)
    # The first passes allocate, and are slower than all that follow.
    for _ in range(2):
        backbone.compute(np.zeros((backbone.chunk, *backbone.input_size, 3), np.uint8))

    def answer(asked: TimingRequest, tell: Tell) -> None:
        time_images(asked, backbone, tell)

    serve(TimingRequest, answer)


if __name__ == "__main__":
    main()
