"""What a person sees: data on stdout, messages and progress on stderr."""

import contextlib
import json
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from cli.streams import writing_result
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.progress import OnProgress, Progress

_PLAIN_EVERY_S = 5.0
# What JSON leaves as it is: DEL, control characters above it, surrogates, marks of direction.
_UNPRINTABLE = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


@dataclass(frozen=True)
class Session:
    """One command: its settings, and how its person wants to be answered.

    Attributes:
        started: When it began, as ``time.monotonic`` tells it.
    """

    settings: Settings
    as_json: bool = False
    quiet: bool = False
    detach: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def flags(self) -> str:
        """What another command needs to find the same storage and broker."""
        return needed_flags(self.settings)

    def say(self, *lines: str) -> None:
        if not self.quiet:
            say(*lines)

    def show_progress(self) -> "AbstractContextManager[OnProgress]":
        return show_progress(self.quiet)


def print_json(value: Any) -> None:
    """Print one JSON value on stdout; what a terminal would obey is escaped, as JSON does it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    _print(_UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def echo(*lines: object) -> None:
    """Print lines on stdout, each on one line of its own; an empty one without any.

    Names and labels come from anybody. So all text for people goes through here, `say`,
    `print_table` or `show_progress`, which escape.
    """
    for line in lines or ("",):
        _print(on_one_line(str(line)))


def echo_path(path: object) -> None:
    """Print a path on stdout: exactly for a program that reads it, escaped for a person."""
    _print(on_one_line(str(path)) if sys.stdout.isatty() else path)


def _print(text: object) -> None:
    with writing_result():
        click.echo(text)


def say(*lines: str) -> None:
    """Print lines on stderr, each on one line of its own."""
    for line in lines:
        # Not err=True: click would then bypass the live line and write into the middle of it.
        click.echo(on_one_line(line), file=sys.stderr)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns on stdout, numbers to the right."""
    texts = [[on_one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    is_number = [bool(rows) and isinstance(cell, int | float) for cell in (rows or [header])[0]]
    for cells in ([name.upper() for name in header], *texts):
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number, strict=True)
        ]
        _print("  ".join(padded).rstrip())


def on_one_line(text: str) -> str:
    r"""Return text with all that is not printable written out, such as ``\n`` or ``\u202e``.

    A file name may hold line breaks, escape sequences and marks that turn the direction of
    text, and a terminal would obey them.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) else c.encode("unicode_escape").decode() for c in text)


def _is_harmless(character: str) -> bool:
    # Blanks of any width, and what joins letters of Persian or parts of an emoji.
    is_blank = unicodedata.category(character) == "Zs"
    return character.isprintable() or is_blank or character in "\u200c\u200d"


def describe_progress(progress: "Progress") -> str:
    """Return one line: ``labelling: 320 of 925 images, 212/s, 3 s left, 2 failed``."""
    parts = []
    if progress.total:
        parts.append(f"{progress.done:,} of {progress.total:,} {progress.unit}")
    if progress.rate is not None:
        parts.append(f"{progress.rate:,.0f}/s")
    if progress.left_s is not None and progress.done < progress.total:
        parts.append(f"{describe_seconds(progress.left_s)} left")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.note:
        parts.append(progress.note)
    return f"{progress.phase}: {', '.join(parts)}" if parts else progress.phase


def describe_seconds(seconds: float) -> str:
    """Return seconds for a person: ``42 s``, ``3 min 20 s``, ``5 h 7 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextlib.contextmanager
def show_progress(quiet: bool) -> "Iterator[Callable[[Progress], None]]":
    """Yield a function that shows a Progress: as a live line on a terminal, else as plain lines."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _live_line() as show:
            yield show
    else:
        yield _plain_lines()


def _plain_lines() -> "Callable[[Progress], None]":
    last_time, last = float("-inf"), ("", "")

    def show(progress: "Progress") -> None:
        nonlocal last_time, last
        now = time.monotonic()
        is_news = progress.phase != last[0] or progress.note not in ("", last[1])
        if is_news or now - last_time >= _PLAIN_EVERY_S:
            last_time, last = now, (progress.phase, progress.note)
            say(describe_progress(progress))

    return show


@contextlib.contextmanager
def _live_line() -> "Iterator[Callable[[Progress], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: "Progress") -> None:
            bar.update(
                task,
                # Brackets in a file name must not be read as markup.
                description=on_one_line(describe_progress(progress)).replace("[", "\\["),
                total=progress.total or None,
                completed=progress.done,
            )

        yield show
