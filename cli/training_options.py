"""The flags that say how a head is fitted: those of every command that trains."""

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option("--testing-percentage", type=float, default=10, show_default=True),
    click.option("--validation-percentage", type=float, default=10, show_default=True),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the split and solver."),
    click.option(
        "--solver",
        type=click.Choice(["lbfgs", "sgd"]),
        default="lbfgs",
        show_default=True,
        help="lbfgs solves the problem; sgd descends as the codelab did.",
    ),
    click.option(
        "--steps", type=click.IntRange(1), default=4000, show_default=True, help="sgd only."
    ),
    click.option("--learning-rate", type=float, default=0.01, show_default=True, help="sgd only."),
    click.option(
        "--train-batch-size",
        type=click.IntRange(1),
        default=100,
        show_default=True,
        help="sgd only.",
    ),
    click.option(
        "--class-weight",
        type=click.Choice(["none", "balanced"]),
        default="none",
        show_default=True,
        help="balanced: rare labels count as much as common ones.",
    ),
    click.option(
        "--target-precision",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
        help="Call images unsure so that this share of the others is right, such as 0.98.",
    ),
)


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to a command, which is called with the fields of TrainingOptions."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
