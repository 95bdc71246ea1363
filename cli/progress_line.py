"""How far long work is: a live line in a terminal, else plain lines."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cli.styles import cells, has_colour, is_terminal, warning, width_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from orchestrator.progress import Progress

# Lines come less often the longer a phase takes: a night's log stays short.
_PLAIN_EVERY_S, _PLAIN_AT_LEAST_EVERY_S, _PART_OF_ELAPSED = 5.0, 60.0, 0.05
_SHOW_ELAPSED_AFTER_S = 3.0
_BAR_CELLS, _LEAST_BAR_CELLS, _SPINNER_CELLS = 40, 10, 2


def describe_progress(progress: "Progress") -> str:
    """Return one line: ``labelling: 320 of 925 images, 212/s, 3 s left, 2 failed``."""
    return next(_shorter_and_shorter(progress, 0.0))


def fit_progress(progress: "Progress", width: int, elapsed_s: float = 0.0) -> str:
    """Return the longest text that fits; rate and time to end are the last to go."""
    for text in _shorter_and_shorter(progress, elapsed_s):
        if cells(text) <= width:
            return text
    return text[: max(0, width - 1)] + "…"


def _shorter_and_shorter(progress: "Progress", elapsed_s: float) -> Iterator[str]:
    speed = []
    if progress.rate is not None:
        speed.append(f"{progress.rate:,.0f}/s")
    if progress.left_s is not None and progress.done < progress.total:
        speed.append(f"{describe_seconds(progress.left_s)} left")
    done = f"{progress.done:,} of {progress.total:,}" if progress.total else ""
    failed = f"{progress.failed:,} failed" if progress.failed else ""
    elapsed = ""
    if not progress.total and elapsed_s >= _SHOW_ELAPSED_AFTER_S:
        elapsed = f"{describe_seconds(elapsed_s)} so far"
    counted = done and f"{done} {progress.unit}"
    yield _join(progress.phase, counted, *speed, failed, progress.note, elapsed)
    yield _join(progress.phase, counted, *speed, failed, progress.note)
    yield _join(progress.phase, counted, *speed, failed, elapsed)
    yield _join(progress.phase, done, *speed, failed, elapsed)
    yield _join("", done, *speed, failed) or _join(progress.phase, elapsed)
    yield _join("", done, *speed) or progress.phase
    yield _join("", *speed) or done or progress.phase


def _join(phase: str, *parts: str) -> str:
    text = ", ".join(filter(None, parts))
    return f"{phase}: {text}" if phase and text else phase or text


def describe_seconds(seconds: float) -> str:
    """Return seconds for a person: ``42 s``, ``3 min 20 s``, ``5 h 7 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plain_lines(say: Callable[..., None]) -> "Callable[[Progress], None]":
    """Return a function that says a Progress when it is news, or some seconds have passed."""
    phase, problem, phase_began, last = "", "", 0.0, float("-inf")

    def show(progress: "Progress") -> None:
        nonlocal phase, problem, phase_began, last
        now = time.monotonic()
        is_new = progress.phase != phase
        if is_new:
            phase, phase_began = progress.phase, now
        pause_s = max(_PLAIN_EVERY_S, _PART_OF_ELAPSED * (now - phase_began))
        if is_new or now - last >= min(pause_s, _PLAIN_AT_LEAST_EVERY_S):
            last = now
            say(describe_progress(progress))
        if progress.problem and progress.problem != problem:
            problem = progress.problem
            say(warning(f"  {problem}"))

    return show


def shows_live_line() -> bool:
    """Whether stderr can hold a line that is drawn again and again."""
    return is_terminal(sys.stderr)


@contextlib.contextmanager
def live_line(escape: Callable[[str], str]) -> "Iterator[Callable[[Progress], None]]":
    """Yield a function that shows a Progress as one line at the bottom of the terminal.

    Args:
        escape: Makes harmless what a terminal would obey.
    """
    from rich.console import Console
    from rich.live import Live

    colours: Any = "auto" if has_colour(sys.stderr) else None
    console = Console(stderr=True, color_system=colours, width=width_of(sys.stderr))
    line = _Line(escape)
    with Live(line, console=console, transient=True, refresh_per_second=8):
        yield line.show


class _Line:
    """Spinner, bar and text of the latest Progress, and what went wrong below it."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        from orchestrator.progress import Progress

        self.escape = escape
        self.progress, self.since = Progress("starting"), time.monotonic()

    def show(self, progress: "Progress") -> None:
        if progress.phase != self.progress.phase:
            self.since = time.monotonic()
        self.progress = progress

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        progress, now = self.progress, time.monotonic()
        room = options.max_width - _SPINNER_CELLS
        text = self.escape(fit_progress(progress, room, now - self.since))
        bar = min(_BAR_CELLS, room - cells(text) - 1)
        row: list[Any] = [Spinner("line" if options.ascii_only else "dots", style="cyan")]
        row[0].start_time = 0.0
        if progress.total and bar >= _LEAST_BAR_CELLS:
            done = min(progress.done, progress.total)
            calm: dict[str, Any] = {"complete_style": "cyan", "finished_style": "cyan"}
            row.append(ProgressBar(progress.total, done, bar, style="bright_black", **calm))
        # As Text: brackets in a file name must not be read as markup.
        row.append(Text(text, no_wrap=True, overflow="ellipsis"))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(*row)
        yield grid
        if progress.note and self.escape(progress.note) not in text:
            yield Text(f"  {self.escape(progress.note)}", style="dim", overflow="fold")
        if progress.problem:
            yield Text(f"  {self.escape(progress.problem)}", style="yellow", overflow="fold")
