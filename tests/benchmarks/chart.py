"""The bar chart of a comparison."""

from pathlib import Path

from tests.benchmarks.outcomes import Outcome, by_rate

_OURS, _THEIRS, _INK = "#1b6ca8", "#b8c0c8", "#22282e"


def draw_chart(outcomes: list[Outcome], path: Path) -> None:
    """Write images a second as an SVG: bars for medians, lines from lowest to highest."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same numbers give the same bytes.
    mpl.rcParams |= {"svg.hashsalt": "poets", "font.size": 10}
    from matplotlib import pyplot as plt

    shown = [o for o in by_rate(outcomes) if o.lines and not o.is_floor][::-1]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(shown) + 1.2), facecolor="white")
    rates = [outcome.rate for outcome in shown]
    spread = [
        [outcome.rate - min(outcome.rates) for outcome in shown],
        [max(outcome.rates) - outcome.rate for outcome in shown],
    ]
    axes.barh(
        [outcome.name for outcome in shown],
        rates,
        color=[_OURS if outcome.is_ours else _THEIRS for outcome in shown],
        height=0.7,
        xerr=spread,
        error_kw={"ecolor": _INK, "elinewidth": 0.8, "capsize": 2},
    )
    for place, outcome in enumerate(shown):
        axes.text(max(outcome.rates) + 6, place, f"{outcome.rate:.0f}", va="center", color=_INK)
    for floor in (o for o in outcomes if o.is_floor and o.lines):
        axes.axvline(floor.rate, color=_INK, linewidth=0.9, linestyle="--")
        axes.set_title(
            f"dashed: {floor.name}, {floor.rate:.0f}", loc="right", fontsize=9, color=_INK
        )
    axes.set_xlabel("images a second, more is better")
    axes.set_xlim(0, 1.1 * max(max(o.rates) for o in outcomes if o.lines))
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
