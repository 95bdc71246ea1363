"""What a person sees: data on stdout, messages and progress on stderr."""

import contextlib
import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import click

from cli.progress_line import live_line, plain_lines, shows_live_line
from cli.streams import writing_result
from cli.styles import Line, Styled, cells, faint, has_colour, render, shorten, strong, width_of
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.progress import OnProgress

_LEAST_LAST_COLUMN = 20
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

    def say(self, *lines: Line) -> None:
        if not self.quiet:
            say(*lines)

    def show_progress(self) -> "AbstractContextManager[OnProgress]":
        return show_progress(self.quiet)


def print_json(value: Any) -> None:
    """Print one JSON value on stdout; what a terminal would obey is escaped, as JSON does it."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    _print(_UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], text))


def echo(*lines: Line) -> None:
    """Print lines on stdout, each on one line of its own; an empty one without any.

    Names and labels come from anybody. So all text for people goes through here, `say`,
    `print_table` or `show_progress`, which escape.
    """
    for line in lines or ("",):
        _print(_rendered(line, sys.stdout))


def echo_path(path: object) -> None:
    """Print a path on stdout: exactly for a program that reads it, escaped for a person."""
    _print(on_one_line(str(path)) if sys.stdout.isatty() else path)


def shown_path(path: object) -> str:
    """Return a path as a result states it: short in a terminal, whole in a file or a pipe."""
    return shorten(path) if sys.stdout.isatty() else str(path)


def say(*lines: Line) -> None:
    """Print lines on stderr, each on one line of its own."""
    for line in lines:
        # Not err=True: click would then bypass the live line and write into the middle of it.
        click.echo(_rendered(line, sys.stderr), file=sys.stderr, color=has_colour(sys.stderr))


def _print(text: object) -> None:
    # In a terminal through the live line, as in `say`. In a pipe past it: data is not for stderr.
    stream = sys.stdout if sys.stdout.isatty() else None
    with writing_result():
        click.echo(text, file=stream, color=has_colour(sys.stdout))


def _rendered(line: Line, stream: TextIO) -> str:
    return render(_escaped(line), width_of(stream), has_colour(stream))


def _escaped(line: Line) -> Line:
    if isinstance(line, str | Styled):
        return _escaped_part(line)
    return [_escaped_part(part) for part in line]


def _escaped_part(part: str | Styled) -> str | Styled:
    if isinstance(part, Styled):
        return Styled(on_one_line(part.text), part.style)
    return on_one_line(part)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns on stdout, numbers to the right.

    In a terminal that is too narrow for them, the last column is broken, or each row becomes a
    few lines.
    """
    texts = [[_escaped_part(_text(cell)) for cell in row] for row in rows]
    columns = zip(header, *texts, strict=True)
    widths = [max(cells(str(cell)) for cell in column) for column in columns]
    room = width_of(sys.stdout)
    last = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if room is not None and last + min(widths[-1], _LEAST_LAST_COLUMN) > room:
        _print_blocks(header, texts)
        return
    is_number = [bool(rows) and isinstance(cell, int | float) for cell in (rows or [header])[0]]
    names: list[str | Styled] = [faint(name.upper()) for name in header]
    for row in (names, *texts):
        line: list[str | Styled] = []
        for cell, width, right in zip(row, widths, is_number, strict=True):
            blanks = " " * (width - cells(str(cell)))
            line += [blanks, cell, "  "] if right else [cell, blanks, "  "]
        _print(render(line[:-1], room, has_colour(sys.stdout), hanging=last).rstrip())


def _text(cell: object) -> str | Styled:
    return cell if isinstance(cell, Styled) else str(cell)


def _print_blocks(header: Sequence[str], rows: Sequence[Sequence[str | Styled]]) -> None:
    width = max(map(len, header[1:]), default=0)
    for first, *others in rows:
        echo(strong(first))
        for name, cell in zip(header[1:], others, strict=True):
            if str(cell):
                echo([faint(f"  {name:<{width}}  "), cell])


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


@contextlib.contextmanager
def show_progress(quiet: bool) -> "Iterator[OnProgress]":
    """Yield a function that shows a Progress: as a live line on a terminal, else as plain lines."""
    if quiet:
        yield lambda _: None
    elif shows_live_line():
        with live_line(on_one_line) as show:
            yield show
    else:
        yield plain_lines(say)
