"""The flags that say how a head is fitted: those of every command that trains."""

import functools
from collections.abc import Callable
from typing import Any

import click

from cli.options import finite
from workers.storage.plan import OF_SGD, OF_THE_CURVE

_Command = Callable[..., Any]
_Option = Callable[[_Command], _Command]

SPLIT_OPTIONS = (
    click.option("--testing-percentage", type=float, metavar="PERCENT", help="Held out. [10]"),
    click.option("--validation-percentage", type=float, metavar="PERCENT", help="Held out. [10]"),
    click.option("--seed", type=int, metavar="N", help="Of split, solver and variants. [0]"),
)
HEAD_OPTIONS = (
    click.option(
        "--solver",
        type=click.Choice(["lbfgs", "sgd"]),
        help="lbfgs solves the problem; sgd descends as the codelab did. [lbfgs]",
    ),
    click.option("--steps", type=click.IntRange(1), metavar="N", help="Of sgd. [4000]"),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        callback=finite,
        metavar="RATE",
        help="Of sgd. [0.01]",
    ),
    click.option(
        "--train-batch-size",
        type=click.IntRange(1),
        metavar="N",
        help="Images in each step of sgd. [100]",
    ),
    click.option(
        "--eval-step-interval",
        type=click.IntRange(1),
        metavar="N",
        help="Steps of sgd between two points of the learning curve. [10]",
    ),
    click.option(
        "--validation-batch-size",
        type=click.IntRange(-1),
        metavar="N",
        help="Validation images looked at for each point; -1 for all. [100]",
    ),
    click.option(
        "--store-interval",
        type=click.IntRange(0),
        metavar="N",
        help="Steps of sgd between two heads that are kept in RUN/heads; 0 for none. [0]",
    ),
    click.option(
        "--class-weight",
        type=click.Choice(["none", "balanced"]),
        help="balanced: rare labels count as much as common ones. [none]",
    ),
    click.option(
        "--target-precision",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
        help="Call images unsure so that this share of the others is right, such as 0.98.",
    ),
)
DISTORTION_OPTIONS = (
    click.option(
        "--flip-left-right",
        is_flag=True,
        default=None,
        help="Distort training images: mirror every second one.",
    ),
    click.option(
        "--random-crop",
        type=int,
        metavar="PERCENT",
        help="Distort training images: cut off a margin of so much.",
    ),
    click.option(
        "--random-scale",
        type=int,
        metavar="PERCENT",
        help="Distort training images: enlarge by up to so much.",
    ),
    click.option(
        "--random-brightness",
        type=int,
        metavar="PERCENT",
        help="Distort training images: lighten or darken by up to so much.",
    ),
    click.option(
        "--variants",
        type=int,
        metavar="N",
        help="Distorted variants of each training image. [8 with a distortion]",
    ),
)


def training_options(*groups: tuple[_Option, ...]) -> Callable[[_Command], _Command]:
    """Add groups of flags to a command; it gets `training`, the fields that were given.

    What was not given has the default of TrainingOptions, or of the run that is trained
    again. A flag that only sgd obeys chooses sgd.
    """
    flags = [option for group in groups for option in group]

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            given = {name: values.pop(name) for name in map(_name, flags)}
            training = {name: value for name, value in given.items() if value is not None}
            return command(training=_with_solver(training), **values)

        decorated: _Command = call
        for option in reversed(flags):
            decorated = option(decorated)
        return decorated

    return decorate


def _name(option: _Option) -> str:
    def bare() -> None:
        """Take the option alone."""

    return str(option(bare).__click_params__[0].name)  # type: ignore[attr-defined]


def _with_solver(training: dict[str, Any]) -> dict[str, Any]:
    only = [name for name in (*OF_SGD, *OF_THE_CURVE) if name in training]
    if only and training.setdefault("solver", "sgd") != "sgd":
        flag = "--" + only[0].replace("_", "-")
        raise click.UsageError(f"{flag} means something to --solver sgd only.")
    return training
