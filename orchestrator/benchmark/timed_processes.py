"""Processes that time a worker's loop: one alone, then one a core."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from workers.backbones.table import BackboneKey
from workers.bottlenecks.timing import Timing, TimingRequest, sum_timings
from workers.errors import PoetsError
from workers.processes.child import START_TIMEOUT_S, Child, DeathError
from workers.settings import Settings

# Nobody waits as long for one image of a sample as a run does.
IMAGE_TIMEOUT_S = 15.0
# A folder that kills more processes is measured by what came before.
_MOST_DEATHS = 5

# Path, size in bytes, modification time in nanoseconds.
File = tuple[str, int, int]
Timer = Child[Timing | None]


def make_timer(settings: Settings, key: BackboneKey) -> Timer:
    """Return a process that times a backbone, which is in storage."""
    arguments = [str(settings.storage), msgspec.json.encode(key).decode(), settings.device]
    return Child("workers.bottlenecks.timing", arguments, Timing | None)


@dataclass
class Alone:
    """What one process measured.

    Attributes:
        timing: Of all images that did not end the process.
        files: Those files, in order.
        deadly: Reasons of the others, with their number.
    """

    timing: Timing = field(default_factory=Timing)
    files: list[File] = field(default_factory=list)
    deadly: Counter[str] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        return len(self.files) + self.deadly.total()


def time_alone(
    timer: Timer,
    files: list[File],
    limit_s: float,
    on_image: Callable[[int], None],
    timeout_s: float = IMAGE_TIMEOUT_S,
) -> Alone:
    """Compute each file once in one process, until `limit_s`; a deadly image costs only itself.

    Args:
        on_image: Called with the number of images tried so far.
        timeout_s: For one image.

    Raises:
        StorageError: When no process can start.
    """
    alone, start, left_s = Alone(), 0, limit_s
    with timer:
        while start < len(files) and left_s > 0 and alone.deadly.total() < _MOST_DEATHS:
            timer.wait_until_ready()
            left, done, timing, began = files[start:], 0, Timing(), time.monotonic()
            try:
                for answer in timer.answers(TimingRequest(left, left_s), timeout_s):
                    if answer:
                        timing = answer
                    else:
                        done += 1
                        on_image(start + done)
                start = len(files)
            except DeathError as died:
                # It takes with it what it measured since its last answer.
                alone.deadly[str(died)] += 1
                start += done + 1
            alone.timing = sum_timings([alone.timing, timing])
            alone.files += left[:done]
            left_s -= time.monotonic() - began
    return alone


def time_together(timers: list[Timer], files: list[File], limit_s: float) -> list[Timing]:
    """Compute the files again and again in all processes at once, until `limit_s`.

    Raises:
        PoetsError: When a process cannot start, or ends early.
    """

    def measure(number: int) -> Timing:
        first = number * len(files) // len(timers)
        request = TimingRequest(files[first:] + files[:first], limit_s, is_repeated=True)
        answers = timers[number].answers(request, limit_s + START_TIMEOUT_S)
        return [answer for answer in answers if answer][-1]

    with contextlib.ExitStack() as stack:
        for timer in timers:
            stack.enter_context(timer)
        # Its threads end last: the kernel ends a child with the thread that started it.
        pool = stack.enter_context(ThreadPoolExecutor(len(timers)))
        list(pool.map(Child.wait_until_ready, timers))
        try:
            return list(pool.map(measure, range(len(timers))))
        except DeathError as died:
            raise PoetsError(
                f"One of {len(timers)} processes was lost: an image {died}. Is there memory for "
                "all of them? See `poets doctor`."
            ) from died
