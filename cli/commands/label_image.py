"""``poets label-image``: the codelab's label_image.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli import options

_TOP = 5


def _flag(name: str, metavar: str, default: object, kind: Any, text: str) -> Callable[[Any], Any]:
    return click.option(
        name, metavar=metavar, default=default, show_default=True, type=kind, help=text
    )


_FILE, _PIXELS = click.Path(path_type=Path), click.IntRange(1)


@click.command(
    "label-image",
    # The codelab writes --input_height.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
@click.option("--image", metavar="FILE", required=True, type=_FILE, help="JPEG, PNG, GIF or BMP.")
@_flag("--graph", "FILE", Path("tf_files/retrained_graph.pb"), _FILE, "The frozen graph.")
@_flag("--labels", "FILE", Path("tf_files/retrained_labels.txt"), _FILE, "One label a line.")
@_flag("--input-height", "N", 224, _PIXELS, "Height of the graph's input, in pixels.")
@_flag("--input-width", "N", 224, _PIXELS, "Width of the graph's input, in pixels.")
@_flag("--input-mean", "X", 128, options.FINITE, "Subtracted from each pixel.")
@_flag("--input-std", "X", 128, options.FINITE, "Each pixel is then divided by this.")
@_flag("--input-layer", "NAME", "input", str, "The node that takes the image.")
@_flag("--output-layer", "NAME", "final_result", str, "The node with the scores.")
@options.debug_option
def command(image: Path, graph: Path, labels: Path, **given: Any) -> None:
    """Label one image with a frozen graph, as the codelab's label_image.py does.

    Prepares the image as that script does, so the scores are the same. `poets classify`
    prepares it as in training: rotated upright, and resized without skipping pixels.

    \b
    Examples:
      poets label-image --image rose.jpg
      poets label-image --image rose.jpg --graph model/retrained_graph.pb \\
        --labels model/retrained_labels.txt
    """
    from workers.exports.frozen_graph import GraphInput, label_image

    if not given["input_std"]:
        raise click.UsageError("--input-std must not be 0: the pixels are divided by it.")
    seconds, ranked = label_image(image, graph, labels, GraphInput(**given))
    click.echo(f"\nEvaluation time (1-image): {seconds:.3f}s\n")
    for label, score in ranked[:_TOP]:
        click.echo(f"{label} (score={score:.5f})")
