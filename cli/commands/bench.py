"""``poets bench``: where the time goes, for your photographs on this machine."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli import options
from cli.console import Session, echo, print_json, print_table

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
_UNITS = (("seconds", 1, 90), ("minutes", 60, 90), ("hours", 3600, 48), ("days", 86400, math.inf))


@options.command("bench")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.architecture
@options.weights
@click.option(
    "--images",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    metavar="N",
    help="Number of images to forecast for.",
)
@click.option(
    "--machines",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of machines like this one, for the second forecast.",
)
@options.with_session()
def command(session: Session, **asked: Any) -> None:
    """Measure how long the images below DIR take on this machine.

    Reads, decodes and computes a random sample of up to 400 images as a worker does, stage by
    stage: in one process, then in one process per core. This takes about 15 seconds, or longer
    with a new backbone, and leaves no run behind.

    \b
    Examples:
      poets bench holiday_photos
      poets bench holiday_photos --images 10000000 --machines 8
    """
    from orchestrator.benchmark.profile import BenchRequest, measure

    with session.show_progress() as on_progress:
        profile = measure(session.settings, BenchRequest(**asked), on_progress).to_json()
    if session.as_json:
        print_json(profile)
    else:
        print_profile(profile)


def print_profile(profile: dict[str, Any]) -> None:
    """Print what `Profile.to_json` gives: in colours on a terminal, else as plain text."""
    images, sample, processes = profile["images"], profile["sample"], profile["processes"]
    first = "" if profile["is_whole_folder"] else "the first "
    drawn = f"{sample:,} of them tried, drawn at random" if sample < images else "all of them tried"
    echo(
        f"{profile['folder']}: {first}{images:,} images, {profile['mean_bytes'] / 1e3:,.0f} kB "
        f"each; {drawn} ({profile['architecture']})"
    )
    if profile["unreadable"]:
        echo(f"{profile['unreadable']} of them cannot be read: {_describe(profile['reasons'])}")
    echo()
    stages = profile["stages"]
    alone = {stage["stage"]: stage["one_process_us"] for stage in stages}
    together = {stage["stage"]: stage["all_processes_us"] for stage in stages}
    columns = {"1 process": alone, f"{processes} at once" if processes > 1 else "again": together}
    _print_bars(columns)
    echo("Microseconds an image")
    rows = [
        (name, round(alone[name]), round(together[name]), f"{stage['share']:6.1%}")
        for name, stage in zip(alone, stages, strict=True)
    ]
    print_table(("stage", *columns, "share"), rows)
    echo()
    rate_alone, rate = profile["images_per_second"].values()
    times = processes * sum(alone.values()) / sum(together.values())
    echo(
        f"{rate_alone:,.0f} images/s in 1 process, {rate:,.0f} in {processes} at once "
        f"({times:.2f} times), which read {rate * profile['mean_bytes'] / 1e6:,.1f} MB/s.",
        f"With {profile['batch_size']} images a task; start and training come on top.",
    )
    if profile["queue_error"]:
        echo(f"The queue is not part of it: {profile['queue_error']}")
    echo(describe_forecast(**profile["forecast"]))


def describe_forecast(
    images: int, seconds: float, machines: int, seconds_with_machines: float
) -> str:
    """Return such as ``1,000,000 like these: 58 minutes on this machine, 4 machines: 15``."""
    whole, shared = _in_words(seconds), _in_words(seconds_with_machines)
    text = f"{images:,} like these: {whole} on this machine"
    if machines > 1:
        text += f", {machines} machines: {shared.removesuffix(whole.split()[1]).rstrip()}"
    return text


def _in_words(seconds: float) -> str:
    unit, size = next((unit, size) for unit, size, most in _UNITS if seconds < most * size)
    amount = seconds / size
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"


def _describe(reasons: dict[str, int]) -> str:
    shown = [f"{reason} ({count})" for reason, count in list(reasons.items())[:_REASONS]]
    more = len(reasons) - len(shown)
    return ", ".join(shown) + (f", and {more} other reasons" if more > 0 else "")


def _print_bars(columns: dict[str, dict[str, float]]) -> None:
    """Print a bar for each column, to one scale, divided into its stages."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    margin = max(map(len, columns)) + 2
    longest = max(sum(times.values()) for times in columns.values())
    room = max(20, min(_WIDEST_BAR, console.width - margin - 1))
    is_coloured = console.is_terminal and not console.no_color
    for name, times in columns.items():
        cells = share_cells(list(times.values()), round(room * sum(times.values()) / longest))
        bar = Text(name.ljust(margin))
        for stage, width in zip(times, cells, strict=True):
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
