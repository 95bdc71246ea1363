"""The 23 flags of the codelab's retrain.py, with its defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import FOLDER
from cli.training_options import OPTIONS

if TYPE_CHECKING:
    from workers.storage.plan import TrainingOptions

_Command = Callable[..., Any]
_Option = Callable[[_Command], _Command]

# Fields of TrainingOptions to which the codelab gives other names; it has the same defaults.
_FIELDS = {
    "how_many_training_steps": "steps",
    "intermediate_store_frequency": "store_interval",
}


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

    def training(self) -> "TrainingOptions":
        """Return how the head is fitted."""
        from workers.storage.plan import TrainingOptions

        values = {_FIELDS.get(name, name): value for name, value in vars(self).items()}
        fitting = {field: value for field, value in values.items() if field in OPTIONS}
        return TrainingOptions(solver="sgd", **fitting)


def _training(name: str, text: str = "") -> _Option:
    option = OPTIONS[_FIELDS.get(name, name)]
    flag = "--" + name.replace("_", "-")
    return option.option(flag, text or f"{option.text}.", default=option.default, show_default=True)


def _path(flag: str, metavar: str, default: str, text: str) -> _Option:
    kind = click.Path(path_type=Path)
    return click.option(
        flag, metavar=metavar, type=kind, default=default, show_default=True, help=text
    )


def _name(flag: str, default: str, text: str) -> _Option:
    return click.option(flag, metavar="NAME", default=default, show_default=True, help=text)


def _not_zero(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 0:
        raise click.BadParameter("0 images say nothing. Give -1 for all of them.")
    return value


# The codelab writes to /tmp.
# ruff: noqa: S108
_FLAGS = (
    click.option(
        "--image-dir",
        metavar="DIR",
        type=FOLDER,
        required=True,
        help="Folder with one folder of images for each label.",
    ),
    _path("--output-graph", "FILE", "/tmp/output_graph.pb", "Where to write the frozen graph."),
    _path(
        "--intermediate-output-graphs-dir",
        "DIR",
        "/tmp/intermediate_graph/",
        "Folder for intermediate graphs, intermediate_STEP.pb.",
    ),
    _training("intermediate_store_frequency", "Steps between two intermediate graphs, 0 for none."),
    _path(
        "--output-labels",
        "FILE",
        "/tmp/output_labels.txt",
        "Where to write the labels, one a line.",
    ),
    _path(
        "--summaries-dir",
        "DIR",
        "/tmp/retrain_logs",
        "Folder for TensorBoard; what is in it stays.",
    ),
    _training("how_many_training_steps"),
    _training("learning_rate"),
    _training("testing_percentage"),
    _training("validation_percentage"),
    _training("eval_step_interval", "Steps between two lines of figures."),
    _training("train_batch_size"),
    click.option(
        "--test-batch-size",
        type=click.IntRange(-1),
        default=-1,
        show_default=True,
        callback=_not_zero,
        metavar="N",
        help="Images in the final test, -1 for all that are held out.",
    ),
    _training("validation_batch_size", "Validation images measured for each line, -1 for all."),
    click.option(
        "--print-misclassified-test-images",
        is_flag=True,
        help="List the test images that got a wrong label.",
    ),
    _path(
        "--model-dir",
        "DIR",
        "/tmp/imagenet",
        "Folder to search for pretrained weights, besides --weights-dir.",
    ),
    _path(
        "--bottleneck-dir",
        "DIR",
        "/tmp/bottleneck",
        "The storage, unless --storage or a setting names one.",
    ),
    _name("--final-tensor-name", "final_result", "Name of the output in the graph."),
    _training("flip_left_right"),
    _training("random_crop"),
    _training("random_scale"),
    _training("random_brightness"),
    _name("--architecture", "inception_v3", "The backbone; `poets architectures` lists all."),
)


def retrain_flags(command: _Command) -> _Command:
    """Add the flags to a command, which gets one keyword for each field of RetrainFlags."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command
