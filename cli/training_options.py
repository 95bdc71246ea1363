"""The flags that say how a head is fitted: one table for every command that trains."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from cli.options import BATCH, FiniteRange
from cli.percentages import Percentage
from workers.storage.plan import OF_SGD, OF_THE_CURVE, TrainingOptions

_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]


@dataclass(frozen=True)
class Row:
    """A field of TrainingOptions as commands offer it.

    Attributes:
        type: A type of click; bool for a flag without a value.
        text: What it does, without the full stop.
        stated: The default as the help states it; "" for that of TrainingOptions.
    """

    field: str
    type: Any
    metavar: str | None
    text: str
    stated: str = ""

    @property
    def flag(self) -> str:
        return "--" + self.field.replace("_", "-")

    @property
    def default(self) -> Any:
        return getattr(TrainingOptions(), self.field)

    def help(self, states_default: bool) -> str:
        """Return the help for a command that offers ``--solver``."""
        needs = " (only with --solver sgd)" if self.field in (*OF_SGD, *OF_THE_CURVE) else ""
        stated = self.stated
        if not stated and self.type is not bool and self.default is not None:
            percent = "%" if isinstance(self.type, Percentage) else ""
            stated = f"{self.default}{percent}"
        return f"{self.text}{needs}." + (f" [{stated}]" if states_default and stated else "")

    def option(self, flag: str, help_text: str, **attributes: Any) -> _Decorator:
        """Return the option of click; `attributes` go to `click.option`."""
        own = {"type": self.type, "is_flag": self.type is bool, "metavar": self.metavar}
        return click.option(flag, help=help_text, **(own | attributes))


# Given for a value that is to be taken off; what was not given at all is None.
_OFF = object()


class _Precision(click.ParamType[Any]):
    """A share that can be promised, or "none"."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "none":
            return _OFF
        share = Percentage(gives_share=True, is_positive=True).convert(value, param, ctx)
        if share == 1:
            self.fail("no number of photographs can promise 100%. Write 98%, say.", param, ctx)
        return share


_POSITIVE, _FROM_ZERO, _OR_ALL = click.IntRange(1), click.IntRange(0), click.IntRange(-1)
_PERCENT, _PART, _WHOLE = "PERCENT", Percentage(), Percentage(is_whole=True)
_SOLVERS, _WEIGHTS = click.Choice(["lbfgs", "sgd"]), click.Choice(["none", "balanced"])
SPLIT_OPTIONS = (
    Row("testing_percentage", _PART, _PERCENT, "Percentage of images held out for the final test"),
    Row("validation_percentage", _PART, _PERCENT, "Percentage of images held out for validation"),
    Row("seed", int, "N", "Random seed for the split, the solver and the variants"),
)
HEAD_OPTIONS = (
    Row(
        "solver",
        _SOLVERS,
        None,
        "Find the optimum (lbfgs), or take steps as the codelab does (sgd)",
    ),
    Row("steps", _POSITIVE, "N", "Number of SGD steps"),
    Row("learning_rate", FiniteRange(0, min_open=True), "RATE", "Learning rate of SGD"),
    Row("train_batch_size", BATCH, "N", "Images in each SGD step, -1 for all"),
    Row("eval_step_interval", _POSITIVE, "N", "SGD steps between two points of the learning curve"),
    Row(
        "validation_batch_size",
        _OR_ALL,
        "N",
        "Validation images per point of the curve, -1 for all",
    ),
    Row(
        "store_interval", _FROM_ZERO, "N", "Keep a head in RUN/heads every N SGD steps, 0 for none"
    ),
    Row("class_weight", _WEIGHTS, None, "Let rare labels count as much as common ones (balanced)"),
    Row(
        "target_precision",
        _Precision(),
        "PERCENT|none",
        "Mark low scores as unsure, so that PERCENT of the other labels are right (98%, say)",
    ),
)
DISTORTION_OPTIONS = (
    Row("flip_left_right", bool, None, "Mirror every second training image"),
    Row("random_crop", _WHOLE, _PERCENT, "Crop training images at random, by up to PERCENT"),
    Row("random_scale", _WHOLE, _PERCENT, "Enlarge training images by up to PERCENT"),
    Row(
        "random_brightness", _WHOLE, _PERCENT, "Lighten or darken training images by up to PERCENT"
    ),
    Row("variants", int, "N", "Distorted variants of each training image", "8 with a distortion"),
)
OPTIONS = {row.field: row for row in (*SPLIT_OPTIONS, *HEAD_OPTIONS, *DISTORTION_OPTIONS)}


def training_options(*groups: tuple[Row, ...], states_defaults: bool = True) -> _Decorator:
    """Add groups of flags to a command; it gets `training`, the fields that were given.

    What was not given has the default of TrainingOptions, or of the run that is trained
    again. A flag that only sgd obeys chooses sgd.
    """
    rows = [row for group in groups for row in group]

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            given = {row.field: values.pop(row.field) for row in rows}
            training = {
                name: None if value is _OFF else value
                for name, value in given.items()
                if value is not None
            }
            return command(training=_with_solver(training), **values)

        decorated: _Command = call
        for row in reversed(rows):
            decorated = row.option(row.flag, row.help(states_defaults), default=None)(decorated)
        return decorated

    return decorate


def _with_solver(training: dict[str, Any]) -> dict[str, Any]:
    only = [name for name in (*OF_SGD, *OF_THE_CURVE) if name in training]
    if only and training.setdefault("solver", "sgd") != "sgd":
        raise click.UsageError(f"{OPTIONS[only[0]].flag} is only for --solver sgd.")
    return training
