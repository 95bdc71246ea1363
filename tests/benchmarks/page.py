"""The section of a page that a comparison writes: facts, chart, table, and what it shows."""

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.outcomes import Outcome, by_rate, versions

START, END = "<!-- bench:start -->", "<!-- bench:end -->"
_HEAD = (
    "| | images/s | lowest to highest | poets is as fast | CPU ms an image | start-up s | peak MB "
    "| agreement |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True)
class Facts:
    """What was measured, where and when."""

    images: int
    source: str
    network: str
    rounds: str
    machine: str
    date: str


def make_section(facts: Facts, outcomes: list[Outcome], reference: Outcome, chart: str) -> str:
    """Return Markdown.

    Args:
        reference: The whole of poets, to which all others are compared.
        chart: Link to the picture; "" for none.
    """
    parts = [
        f"{facts.images:,} {facts.source}, {facts.network}, on {facts.machine}; {facts.date}; "
        f"{facts.rounds}.",
        f"![Images a second of each]({chart})" if chart else "",
        make_table(outcomes, reference),
        _verdict(outcomes, reference),
        _heads(outcomes),
        "Versions: " + ", ".join(f"{k} {v}" for k, v in versions(outcomes).items()) + ".",
    ]
    return "\n\n".join(part for part in parts if part)


def make_table(outcomes: list[Outcome], reference: Outcome) -> str:
    """Return one row each, the quickest first; a rival that did not run has its reason."""
    return "\n".join([_HEAD, *(_row(outcome, reference) for outcome in by_rate(outcomes))])


def _row(outcome: Outcome, reference: Outcome) -> str:
    name = f"**{outcome.name}**" if outcome.is_ours else outcome.name
    if not outcome.lines:
        reason = (outcome.reason or "").replace("|", "/")
        return f"| {name} | did not run: {reason} | | | | | | |"
    times = f"{reference.rate / outcome.rate:.2f} ×" if reference.lines else ""
    similarity = "" if outcome.agreement is None else f"{outcome.agreement:.4f}"
    cells = [
        name,
        f"{outcome.rate:.0f}",
        f"{min(outcome.rates):.0f} to {max(outcome.rates):.0f}",
        "" if outcome is reference else times,
        f"{outcome.cpu_ms:.2f}",
        f"{outcome.median_of('start_up_s'):.1f}",
        f"{outcome.median_of('peak_rss_mb'):,.0f}",
        similarity,
    ]
    return f"| {' | '.join(cells)} |"


def _verdict(outcomes: list[Outcome], reference: Outcome) -> str:
    if not reference.lines:
        return f"{reference.name} did not run: {reference.reason}"
    ahead = [
        f"{outcome.name} ({outcome.rate / reference.rate:.2f} ×)"
        for outcome in by_rate(outcomes)
        if outcome.lines and not outcome.is_ours and not outcome.is_floor
        if outcome.rate > reference.rate
    ]
    if not ahead:
        return f"No rival is ahead of `{reference.name}`."
    return f"Ahead of `{reference.name}`: {', '.join(ahead)}."


def _heads(outcomes: list[Outcome]) -> str:
    said = []
    for outcome in outcomes:
        steps, head_s = outcome.median_of("steps"), outcome.median_of("head_s")
        if steps is not None and head_s is not None:
            said.append(f"{outcome.name}: {steps:,.0f} training steps then take {head_s:.1f} s.")
        if (command_s := outcome.median_of("command_s")) is not None:
            said.append(
                f"`{outcome.name}`: the whole command, with start, training, evaluation and "
                f"report, takes {command_s:.1f} s."
            )
    return " ".join(said)


def write_section(page: Path, section: str) -> None:
    """Put the section between the markers of the page, and leave all else as it is.

    Raises:
        SystemExit: When the page has not both markers, once each.
    """
    text = page.read_text("utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise SystemExit(f"{page} needs one line {START} and, below it, one line {END}.")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    page.write_text(f"{before}{START}\n{section}\n{END}{after}", "utf-8")
