"""The 23 flags of the codelab's retrain.py, with its defaults."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import FOLDER
from cli.training_options import OPTIONS

if TYPE_CHECKING:
    from workers.storage.plan import TrainingOptions

# The codelab writes to /tmp, and the functions return fields.
# ruff: noqa: S108, RUF009
_Command = Callable[..., Any]


def _flag(text: str, **attributes: Any) -> Any:
    """Return a field with its option of click, which lacks only the flag."""
    return field(
        metadata={"option": partial(click.option, help=text, show_default=True, **attributes)}
    )


def _path(metavar: str, default: str, text: str) -> Any:
    return _flag(text, metavar=metavar, type=click.Path(path_type=Path), default=default)


def _training(name: str, text: str = "", **attributes: Any) -> Any:
    """Return a field that stands for one of TrainingOptions, which has the codelab's default."""
    row = OPTIONS[name]
    option = partial(
        row.option,
        help_text=text or f"{row.text}.",
        default=row.default,
        show_default=True,
        **attributes,
    )
    return field(metadata={"option": option, "training": name})


def _percent(name: str) -> Any:
    """Return a field for a percentage, which is a whole number in the codelab: 1 is 1 %."""
    return _training(name, type=int)


def _not_zero(ctx: click.Context, parameter: click.Parameter, value: int) -> int:
    if value == 0:
        raise click.BadParameter("0 images say nothing. Give -1 for all of them.")
    return value


@dataclass(frozen=True)
class RetrainFlags:
    """What `poets retrain` was given; the names are those of the codelab."""

    image_dir: Path = _flag(
        "Folder with one folder of images for each label.",
        metavar="DIR",
        type=FOLDER,
        required=True,
    )
    output_graph: Path = _path("FILE", "/tmp/output_graph.pb", "Where to write the frozen graph.")
    intermediate_output_graphs_dir: Path = _path(
        "DIR", "/tmp/intermediate_graph/", "Folder for intermediate graphs, intermediate_STEP.pb."
    )
    intermediate_store_frequency: int = _training(
        "store_interval", "Steps between two intermediate graphs, 0 for none."
    )
    output_labels: Path = _path(
        "FILE", "/tmp/output_labels.txt", "Where to write the labels, one a line."
    )
    summaries_dir: Path = _path(
        "DIR", "/tmp/retrain_logs", "Folder for TensorBoard; what is in it stays."
    )
    how_many_training_steps: int = _training("steps")
    learning_rate: float = _training("learning_rate")
    testing_percentage: int = _percent("testing_percentage")
    validation_percentage: int = _percent("validation_percentage")
    eval_step_interval: int = _training("eval_step_interval", "Steps between two lines of figures.")
    train_batch_size: int = _training("train_batch_size")
    test_batch_size: int = _flag(
        "Images in the final test, -1 for all that are held out.",
        metavar="N",
        type=click.IntRange(-1),
        default=-1,
        callback=_not_zero,
    )
    validation_batch_size: int = _training(
        "validation_batch_size", "Validation images measured for each line, -1 for all."
    )
    print_misclassified_test_images: bool = _flag(
        "List the test images that got a wrong label.", is_flag=True
    )
    model_dir: Path = _path(
        "DIR", "/tmp/imagenet", "Folder to search for pretrained weights, besides --weights-dir."
    )
    bottleneck_dir: Path = _path(
        "DIR", "/tmp/bottleneck", "The storage, unless --storage or a setting names one."
    )
    final_tensor_name: str = _flag(
        "Name of the output in the graph.", metavar="NAME", default="final_result"
    )
    flip_left_right: bool = _training("flip_left_right")
    random_crop: int = _percent("random_crop")
    random_scale: int = _percent("random_scale")
    random_brightness: int = _percent("random_brightness")
    architecture: str = _flag(
        "The backbone; `poets architectures` lists all.", metavar="NAME", default="inception_v3"
    )

    def training(self) -> "TrainingOptions":
        """Return how the head is fitted."""
        from workers.storage.plan import TrainingOptions

        fitting = {
            one.metadata["training"]: getattr(self, one.name)
            for one in fields(self)
            if "training" in one.metadata
        }
        return TrainingOptions(solver="sgd", **fitting)


def retrain_flags(command: _Command) -> _Command:
    """Add the flags to a command, which gets one keyword for each field of RetrainFlags."""
    for one in reversed(fields(RetrainFlags)):
        command = one.metadata["option"](f"--{one.name.replace('_', '-')}")(command)
    return command
