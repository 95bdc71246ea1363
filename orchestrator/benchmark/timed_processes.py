"""Processes that time a worker's loop: one alone, then one a core."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field

from workers.backbones.table import BackboneKey
from workers.bottlenecks.requests import Request
from workers.bottlenecks.timing import Timing, TimingRequest, sum_timings
from workers.errors import PoetsError
from workers.processes.child import START_TIMEOUT_S, Child, DeathError
from workers.settings import Settings

# Nobody waits as long for one image of a sample as a run does.
IMAGE_TIMEOUT_S = 15.0
# A folder that kills more processes is measured by what came before.
_MOST_DEATHS = 5

Timer = Child[Timing]


def make_timer(settings: Settings, key: BackboneKey) -> Timer:
    """Return a process that times a backbone, which is in storage."""
    arguments = [str(settings.storage), settings.device, *astuple(key)]
    return Child("workers.bottlenecks.timing", arguments, Timing)


@dataclass
class Alone:
    """What one process measured.

    Attributes:
        images: Those that did not end the process, in order; `timing` is of them.
        deadly: Reasons of the others, with their number.
    """

    timing: Timing = field(default_factory=Timing)
    images: list[Request] = field(default_factory=list)
    deadly: Counter[str] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        return len(self.images) + self.deadly.total()


def time_alone(
    timer: Timer,
    images: list[Request],
    limit_s: float,
    on_image: Callable[[int], None],
    timeout_s: float = IMAGE_TIMEOUT_S,
) -> Alone:
    """Compute each image once in one process, until `limit_s`; a deadly one costs only itself.

    Args:
        on_image: Called with the number of images tried so far.
        timeout_s: For one image.

    Raises:
        StorageError: When no process can start.
    """
    alone, left_s = Alone(), limit_s
    with timer:
        while alone.tried < len(images) and left_s > 0 and alone.deadly.total() < _MOST_DEATHS:
            timer.wait_until_ready()
            left, timing, began = images[alone.tried :], Timing(), time.monotonic()
            try:
                for timing in timer.answers(TimingRequest(left, left_s), timeout_s):
                    on_image(alone.tried + timing.tried)
                left_s = 0
            except DeathError as died:
                left_s -= time.monotonic() - began
                alone.deadly[str(died)] += 1
            alone.images += left[: timing.tried]
            alone.timing = sum_timings([alone.timing, timing])
    return alone


def time_together(timers: list[Timer], images: list[Request], limit_s: float) -> Timing:
    """Compute the images again and again in all processes at once, until `limit_s`.

    Raises:
        PoetsError: When a process cannot start, or ends early.
    """

    def measure(number: int) -> Timing:
        first = number * len(images) // len(timers)
        request = TimingRequest(images[first:] + images[:first], limit_s, is_repeated=True)
        *_, timing = timers[number].answers(request, limit_s + START_TIMEOUT_S)
        return timing

    with contextlib.ExitStack() as stack:
        for timer in timers:
            stack.enter_context(timer)
        # Its threads end last: the kernel ends a child with the thread that started it.
        pool = stack.enter_context(ThreadPoolExecutor(len(timers)))
        list(pool.map(Child.wait_until_ready, timers))
        try:
            return sum_timings(pool.map(measure, range(len(timers))))
        except DeathError as died:
            raise PoetsError(
                f"One of {len(timers)} processes was lost: an image {died}. Is there memory for "
                "all of them?"
            ) from died
