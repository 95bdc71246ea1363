"""The 23 flags of the codelab's retrain.py, with its defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.options import FINITE, FOLDER, FiniteRange

_Command = Callable[..., Any]


@dataclass(frozen=True)
class RetrainFlags:
    """What `poets retrain` was given; the names are those of the codelab."""

    image_dir: Path
    output_graph: Path
    intermediate_output_graphs_dir: Path
    intermediate_store_frequency: int
    output_labels: Path
    summaries_dir: Path
    how_many_training_steps: int
    learning_rate: float
    testing_percentage: float
    validation_percentage: float
    eval_step_interval: int
    train_batch_size: int
    test_batch_size: int
    validation_batch_size: int
    print_misclassified_test_images: bool
    model_dir: Path
    bottleneck_dir: Path
    final_tensor_name: str
    flip_left_right: bool
    random_crop: int
    random_scale: int
    random_brightness: int
    architecture: str


def _path(name: str, metavar: str, default: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(
        name,
        metavar=metavar,
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        help=text,
    )


def _value(name: str, kind: Any, default: Any, text: str) -> Callable[[_Command], _Command]:
    metavar = "PERCENT" if "percent" in text else "N"
    metavar = {float: metavar, str: "NAME"}.get(kind, metavar)
    return click.option(
        name,
        type=FINITE if kind is float else kind,
        default=default,
        show_default=True,
        metavar=metavar,
        help=text,
    )


def _not_zero(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 0:
        raise click.BadParameter("0 images say nothing. Give -1 for all of them.")
    return value


_POSITIVE = click.IntRange(1)
_FLAGS = (
    click.option(
        "--image-dir",
        metavar="DIR",
        type=FOLDER,
        required=True,
        help="One folder of images for each label.",
    ),
    _path("--output-graph", "FILE", "/tmp/output_graph.pb", "The frozen graph."),  # noqa: S108
    _path(
        "--intermediate-output-graphs-dir",
        "DIR",
        "/tmp/intermediate_graph/",  # noqa: S108
        "Graphs on the way, intermediate_STEP.pb.",
    ),
    _value(
        "--intermediate-store-frequency",
        click.IntRange(0),
        0,
        "Steps between two graphs on the way; 0 for none.",
    ),
    _path("--output-labels", "FILE", "/tmp/output_labels.txt", "One label a line."),  # noqa: S108
    _path(
        "--summaries-dir",
        "DIR",
        "/tmp/retrain_logs",  # noqa: S108
        "For TensorBoard; what is there stays.",
    ),
    _value("--how-many-training-steps", _POSITIVE, 4000, "Steps of gradient descent."),
    click.option(
        "--learning-rate",
        type=FiniteRange(0, min_open=True),
        default=0.01,
        show_default=True,
        metavar="RATE",
        help="Of gradient descent.",
    ),
    _value("--testing-percentage", float, 10, "Held out for the final test, in percent."),
    _value("--validation-percentage", float, 10, "Held out for validation, in percent."),
    _value("--eval-step-interval", _POSITIVE, 10, "Steps between two lines of figures."),
    _value("--train-batch-size", _POSITIVE, 100, "Images in each step."),
    click.option(
        "--test-batch-size",
        type=click.IntRange(-1),
        default=-1,
        show_default=True,
        callback=_not_zero,
        metavar="N",
        help="Images of the final test; -1 for all that are held out.",
    ),
    _value(
        "--validation-batch-size",
        click.IntRange(-1),
        100,
        "Validation images looked at for each line; -1 for all.",
    ),
    click.option(
        "--print-misclassified-test-images",
        is_flag=True,
        help="List the test images that got another label.",
    ),
    _path(
        "--model-dir",
        "DIR",
        "/tmp/imagenet",  # noqa: S108
        "Searched for pretrained weights, besides --weights-dir.",
    ),
    _path(
        "--bottleneck-dir",
        "DIR",
        "/tmp/bottleneck",  # noqa: S108
        "The storage, unless --storage or a setting names one.",
    ),
    _value("--final-tensor-name", str, "final_result", "Of the output in the graph."),
    click.option("--flip-left-right", is_flag=True, help="Mirror some training images."),
    _value("--random-crop", int, 0, "Cut off a margin of so many percent."),
    _value("--random-scale", int, 0, "Enlarge by up to so many percent."),
    _value("--random-brightness", int, 0, "Lighten or darken by up to so many percent."),
    _value("--architecture", str, "inception_v3", "The backbone; `poets architectures` lists all."),
)


def retrain_flags(command: _Command) -> _Command:
    """Add the flags to a command, which gets one keyword for each field of RetrainFlags."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command
