"""Processes that time a worker's loop: one alone, then one a core."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from typing import IO, Any, cast

from workers.backbones.table import BackboneKey
from workers.bottlenecks.timing import Timing, encode_request
from workers.errors import PoetsError
from workers.settings import Settings

_START_TIMEOUT_S = 120.0
# Nobody waits as long for one image of a sample as a run does.
IMAGE_TIMEOUT_S = 15.0
# A folder that kills more processes is measured by what came before.
_MOST_DEATHS = 5

# Path to open, size in bytes, modification time in nanoseconds.
File = tuple[str, int, int]


class _DeathError(Exception):
    """The process ended or hung; the message is the reason."""


@dataclass(frozen=True)
class Backbone:
    """What the processes compute with, converted and in storage."""

    settings: Settings
    key: BackboneKey


@dataclass
class Alone:
    """What one process measured.

    Attributes:
        lap: Sums of all images that did not end the process.
        files: Those files, in order.
        deadly: Reasons of the others, with their number.
    """

    lap: Timing = field(default_factory=Timing)
    files: list[File] = field(default_factory=list)
    deadly: Counter[str] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        return len(self.files) + self.deadly.total()


def time_alone(
    backbone: Backbone,
    files: list[File],
    limit_s: float,
    on_image: Callable[[int], None],
    timeout_s: float = IMAGE_TIMEOUT_S,
) -> Alone:
    """Compute each file once in one process, until `limit_s`; a deadly image costs itself only.

    Args:
        on_image: Called with the number of images taken up so far.
        timeout_s: For one image.

    Raises:
        PoetsError: When no process can start.
    """
    alone, place, left_s = Alone(), 0, limit_s
    while place < len(files) and left_s > 0 and alone.deadly.total() < _MOST_DEATHS:
        with _start(backbone) as process:
            process.wait_until_ready()
            began, done, lap = time.monotonic(), 0, Timing()
            process.ask(encode_request(files[place:], left_s, beats=True, is_repeated=False))
            try:
                for answer in process.answers(timeout_s):
                    if answer == ".":
                        done += 1
                        on_image(place + done)
                    else:
                        lap = _as_lap(answer)
            except _DeathError as died:
                # The laps know nothing of what came after them.
                alone.deadly[str(died)] += 1
                alone.files += files[place : place + done]
                place += done + 1
            else:
                alone.files += files[place : place + lap.images]
                place = len(files)
        alone.lap = _sum([alone.lap, lap])
        left_s -= time.monotonic() - began
    return alone


def time_together(
    backbone: Backbone, files: list[File], processes: int, limit_s: float
) -> list[Timing]:
    """Compute the files again and again in so many processes at once, until `limit_s`.

    Raises:
        PoetsError: When one of them ends early.
    """
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_start(backbone)) for _ in range(processes)]
        for process in running:
            process.wait_until_ready()
        for number, process in enumerate(running):
            first = number * len(files) // processes
            turned = files[first:] + files[:first]
            process.ask(encode_request(turned, limit_s, beats=False, is_repeated=True))
        try:
            laps = [list(process.answers(limit_s + _START_TIMEOUT_S))[-1] for process in running]
        except _DeathError as died:
            raise PoetsError(
                f"One of {processes} processes was lost: an image {died}. Is there memory for "
                "all of them? See `poets doctor`."
            ) from died
    return [_as_lap(lap) for lap in laps]


def _as_lap(answer: str) -> Timing:
    values: dict[str, Any] = json.loads(answer)
    values.pop("is_last", None)
    return Timing(**values)


def _sum(laps: list[Timing]) -> Timing:
    total = Timing()
    for lap in laps:
        total.images += lap.images
        total.seconds = {name: total.seconds[name] + lap.seconds[name] for name in total.seconds}
        total.reasons = dict(Counter(total.reasons) + Counter(lap.reasons))
    return total


@contextlib.contextmanager
def _start(backbone: Backbone) -> "Iterator[_Process]":
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages:
        process = _Process(backbone, messages)
        try:
            yield process
        finally:
            process.stop()


class _Process:
    def __init__(self, backbone: Backbone, messages: IO[str]) -> None:
        self._messages = messages
        settings = backbone.settings
        arguments = [str(settings.storage), json.dumps(astuple(backbone.key)), settings.device]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "workers.bottlenecks.timing",
                *arguments,
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_until_ready(self) -> None:
        try:
            self._next_line(_START_TIMEOUT_S)
        except _DeathError as died:
            self._messages.seek(0)
            said = self._messages.read().strip().splitlines() or [str(died)]
            raise PoetsError(f"The process that measures cannot start: {said[-1]}") from died

    def ask(self, request: str) -> None:
        stdin = cast(IO[str], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(request)
            stdin.flush()

    def answers(self, timeout_s: float) -> Iterator[str]:
        """Yield lines up to the last one, each within `timeout_s` of the one before."""
        while True:
            line = self._next_line(timeout_s)
            yield line
            if "is_last" in line:
                return

    def stop(self) -> None:
        self._process.kill()
        self._thread.join()
        with contextlib.suppress(BrokenPipeError):
            cast(IO[str], self._process.stdin).close()
        cast(IO[str], self._process.stdout).close()
        self._process.wait()

    def _read(self) -> None:
        for line in cast(IO[str], self._process.stdout):
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def _next_line(self, timeout_s: float) -> str:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise _DeathError(f"hangs: gave no result within {timeout_s:.0f} s") from None
        if line:
            return line
        code = self._process.wait()
        if code < 0:
            raise _DeathError(f"killed the process that read it ({signal.Signals(-code).name})")
        raise _DeathError(f"ended the process that read it (exit code {code})")
