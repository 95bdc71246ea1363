"""Weight, colour and line breaks of what a person reads in a terminal."""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TextIO

import click

# What a terminal shows well on dark and on light ground.
_STYLES: dict[str, dict[str, object]] = {
    "strong": {"bold": True},
    "good": {"fg": "green", "bold": True},
    "bad": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "busy": {"fg": "cyan"},
    "faint": {"dim": True},
}
# The name of a line (`  images      925 ...`): what follows it is continued under itself.
_HANGING = re.compile(r" *(?:[\w-]+(?: [\w-]+)? {2,}| *)")
_COMMAND = re.compile("`[^`]*`")
_NO_COLOURS = ("dumb", "unknown")


@dataclass(frozen=True)
class Styled:
    """Text of one look, a key of `_STYLES`."""

    text: str
    style: str

    def __str__(self) -> str:
        return self.text


Line = str | Styled | Sequence[str | Styled]


def strong(text: object) -> Styled:
    """Return what the eye should find first."""
    return Styled(str(text), "strong")


def good(text: object) -> Styled:
    """Return text that says that all is well."""
    return Styled(str(text), "good")


def bad(text: object) -> Styled:
    """Return text that says that something failed."""
    return Styled(str(text), "bad")


def warning(text: object) -> Styled:
    """Return text that says what to look at."""
    return Styled(str(text), "warning")


def busy(text: object) -> Styled:
    """Return text that says what is going on."""
    return Styled(str(text), "busy")


def faint(text: object) -> Styled:
    """Return text that matters least."""
    return Styled(str(text), "faint")


def has_colour(stream: TextIO) -> bool:
    """Whether a stream takes colours: NO_COLOR, then FORCE_COLOR, then whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream leads to a terminal that obeys control characters."""
    return stream.isatty() and os.environ.get("TERM", "") not in _NO_COLOURS


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream leads to; None when it leads to none."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def cells(text: str) -> int:
    """Return how many columns text takes; a letter of Chinese, Japanese or Korean takes two."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def render(line: Line, width: int | None, coloured: bool, hanging: int | None = None) -> str:
    """Return a line as the terminal gets it, broken between words where it is too wide.

    A command between backticks is never broken, so that it can be copied.

    Args:
        line: Text without control characters.
        width: Columns; None to break nothing.
        hanging: Where the rows after the first begin; None for below what the line begins with.
    """
    parts = [line] if isinstance(line, str | Styled) else line
    text = "".join(map(str, parts))
    styles = [part.style if isinstance(part, Styled) else "" for part in parts for _ in str(part)]
    rows = []
    for indent, start, end in _break(text, width, hanging):
        row = " " * indent
        for style, group in groupby(range(start, end), key=styles.__getitem__):
            piece = "".join(text[index] for index in group)
            row += click.style(piece, **_STYLES[style]) if coloured and style else piece  # type: ignore[arg-type] # a table of keywords
        rows.append(row)
    return "\n".join(rows)


def _break(text: str, width: int | None, hanging: int | None) -> Iterator[tuple[int, int, int]]:
    """Yield the indent, the start and the end of each row of a text."""
    if width is None or cells(text) <= width:
        yield 0, 0, len(text)
        return
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", "_"), text)
    if hanging is None:
        found = _HANGING.match(text)
        hanging = found.end() if found and found.end() <= width // 2 else 2
    indent = start = end = 0
    for word in re.finditer(r" *[^ ]+", whole):
        begin = word.end() - len(word[0].lstrip())
        is_too_long = hanging + cells(text[begin : word.end()]) > width
        if end > start and not is_too_long and indent + cells(text[start : word.end()]) > width:
            yield indent, start, end
            indent, start = hanging, begin
        end = word.end()
    yield indent, start, end


def shorten(path: object) -> str:
    """Return a path for a person: as seen from the current folder, else from the home folder."""
    text = str(path)
    for base, name in ((_current(), "."), (os.path.expanduser("~"), "~")):
        if base and base != "/" and text == base:
            return name
        if base and base != "/" and text.startswith(base + "/"):
            rest = text[len(base) + 1 :]
            return rest if name == "." else f"~/{rest}"
    return text


def _current() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""
