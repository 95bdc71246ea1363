"""A profile of `poets bench` as a person sees it: bars, a table, and a forecast."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.console import print_table

if TYPE_CHECKING:
    from orchestrator.benchmark.profile import Profile

# Visible on dark and on light terminals, and told apart by colour-blind eyes (Paul Tol's
# "bright" and "muted"); the text on them is black or white.
_COLOURS = {
    "read": "#ffffff on #4477aa",
    "hash": "#000000 on #66ccee",
    "decode": "#ffffff on #228833",
    "resize": "#000000 on #ccbb44",
    "forward": "#ffffff on #cc6677",
    "write": "#ffffff on #aa3377",
    "queue": "#000000 on #bbbbbb",
    "other": "#ffffff on #777777",
}
_WIDEST_BAR = 72
_REASONS = 3
_UNITS = (("seconds", 1, 90), ("minutes", 60, 90), ("hours", 3600, 48), ("days", 86400, None))


def print_profile(profile: "Profile") -> None:
    """Print a profile on stdout: in colours on a terminal, else as plain text."""
    found = profile.found
    first = "" if found.is_whole else "the first "
    is_part = profile.sample < found.found
    drawn = f"{profile.sample:,} of them tried, drawn at random" if is_part else "all of them tried"
    click.echo(
        f"{found.root}: {first}{found.found:,} images, {found.mean_bytes / 1e3:,.0f} kB each; "
        f"{drawn} ({profile.request.architecture})"
    )
    if profile.unreadable:
        click.echo(f"{profile.unreadable} of them cannot be read: {_reasons(profile.reasons)}")
    click.echo()
    again = f"{profile.processes} at once" if profile.processes > 1 else "again"
    columns = {"1 process": profile.alone, again: profile.together}
    _print_bars(columns)
    click.echo("Microseconds an image")
    print_table(
        ("stage", *columns, "share"),
        [
            (
                stage,
                *(round(seconds[stage] * 1e6) for seconds in columns.values()),
                f"{share:6.1%}",
            )
            for stage, share in profile.shares.items()
        ],
    )
    click.echo()
    click.echo(_describe_rates(profile))
    if profile.queue_error:
        click.echo(f"The queue is not part of it: {profile.queue_error}")
    click.echo(describe_forecast(profile))


def describe_forecast(profile: "Profile") -> str:
    """Return such as ``1,000,000 like these: 58 minutes on this machine, 4 machines: 15``."""
    seconds, machines = profile.forecast_s, profile.request.machines
    amount, unit = _in_words(seconds)
    text = f"{profile.request.images:,} like these: {amount} {unit} on this machine"
    if machines == 1:
        return text
    shared, shared_unit = _in_words(seconds / machines)
    return f"{text}, {machines} machines: {shared}" + (
        "" if shared_unit == unit else f" {shared_unit}"
    )


def _describe_rates(profile: "Profile") -> str:
    alone, together = profile.rate_alone, profile.rate_together
    bytes_a_second = together * profile.found.mean_bytes
    return (
        f"{alone:,.0f} images/s in 1 process, {together:,.0f} in {profile.processes} at once "
        f"({together / alone:.2f} times), which read {bytes_a_second / 1e6:,.1f} MB/s.\n"
        f"With {profile.batch_size} images a task; start and training come on top."
    )


def _in_words(seconds: float) -> tuple[str, str]:
    """Return an amount of time and its unit."""
    name, size = next(
        (name, size) for name, size, most in _UNITS if most is None or seconds < most * size
    )
    amount = seconds / size
    return (f"{amount:.1f}" if amount < 9.95 else f"{amount:,.0f}"), name


def _reasons(reasons: dict[str, int]) -> str:
    shown = [f"{reason} ({count})" for reason, count in list(reasons.items())[:_REASONS]]
    more = len(reasons) - len(shown)
    return ", ".join(shown) + (f", and {more} other reasons" if more > 0 else "")


def _print_bars(columns: dict[str, dict[str, float]]) -> None:
    """Print a bar for each column, to one scale, divided into its stages."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    margin = max(map(len, columns)) + 2
    longest = max(sum(seconds.values()) for seconds in columns.values())
    room = max(20, min(_WIDEST_BAR, console.width - margin - 1))
    is_coloured = console.is_terminal and not console.no_color
    for name, seconds in columns.items():
        cells = share_cells(list(seconds.values()), round(room * sum(seconds.values()) / longest))
        bar = Text(name.ljust(margin))
        for stage, width in zip(seconds, cells, strict=True):
            label = stage[:width].center(width)
            if is_coloured:
                bar.append(label, _COLOURS[stage])
            elif width:
                bar.append(label if width == 1 else f"{label[:-1]}|")
        console.print(bar)
    console.print()


def share_cells(amounts: Sequence[float], cells: int) -> list[int]:
    """Divide whole cells in proportion to the amounts; each is off by at most one."""
    edges = [round(cells * end / sum(amounts)) for end in itertools.accumulate(amounts)]
    return [end - start for start, end in itertools.pairwise([0, *edges])]
