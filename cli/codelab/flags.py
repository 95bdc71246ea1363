"""The 23 flags of the codelab's retrain.py, with its defaults."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import BATCH, FOLDER
from cli.training_options import OPTIONS

if TYPE_CHECKING:
    from workers.storage.plan import TrainingOptions

_MODULE = re.compile(r"(?:^|/)imagenet/(?P<name>\w+)/")
# Modules of TensorFlow Hub, which the retrain.py of 2018 and later took, that have a counterpart
# besides those of MobileNet v1.
_MODULES = {
    "inception_v3": "inception_v3",
    "mobilenet_v2_100_224": "mobilenet_v2",
    "mobilenet_v3_small_100_224": "mobilenet_v3_small",
    "mobilenet_v3_large_100_224": "mobilenet_v3_large",
    "efficientnet_v2_imagenet1k_b0": "efficientnet_v2_b0",
    "resnet_v1_50": "resnet50",
}
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
    intermediate_output_graphs_dir: str = _flag(
        "Start of the names of intermediate graphs, PREFIXintermediate_STEP.pb.",
        metavar="PREFIX",
        default="/tmp/intermediate_graph/",
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
        type=BATCH,
        default=-1,
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

    def intermediate_graph(self, step: int) -> Path:
        """Return where the graph after a step goes: a prefix without "/" is no folder."""
        prefix = os.path.expanduser(self.intermediate_output_graphs_dir)
        return Path(f"{prefix}intermediate_{step}.pb")

    def training(self) -> "TrainingOptions":
        """Return how the head is fitted."""
        from workers.storage.plan import TrainingOptions

        fitting = {
            one.metadata["training"]: getattr(self, one.name)
            for one in fields(self)
            if "training" in one.metadata
        }
        # Balanced: the codelab's script draws a label first, then one of its images.
        return TrainingOptions(solver="sgd", class_weight="balanced", **fitting)


def retrain_flags(command: _Command) -> _Command:
    """Add the flags to a command, which gets one keyword for each field of RetrainFlags."""
    for one in reversed(fields(RetrainFlags)):
        name = one.name.replace("_", "-")
        flag = f"--{name}/--no{name}" if one.type is bool else f"--{name}"
        command = one.metadata["option"](flag)(command)
    return command


def find_module(url: str) -> str | None:
    """Return the architecture of a module of TensorFlow Hub, by its URL; None without one."""
    found = _MODULE.search(url.lower())
    if not found:
        return None
    name, is_quantized = found["name"], "/quantops" in url.lower()
    mobilenet = re.fullmatch(r"mobilenet_v1_(\d)(\d\d)_(\d+)", name)
    if mobilenet:
        whole, part, size = mobilenet.groups()
        width = f"{whole}.{part}" if whole == "0" else "1.0"
        return f"mobilenet_{width}_{size}" + ("_quantized" if is_quantized else "")
    return None if is_quantized else _MODULES.get(name)
