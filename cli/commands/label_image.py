"""``poets label-image``: the codelab's label_image.py."""

from pathlib import Path

import click

from cli import options

_TOP = 5


@click.command("label-image")
@click.option(
    "--image",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="The image: JPEG, PNG, ...",
)
@click.option(
    "--graph",
    metavar="FILE",
    default=Path("tf_files/retrained_graph.pb"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="The frozen graph.",
)
@click.option(
    "--labels",
    metavar="FILE",
    default=Path("tf_files/retrained_labels.txt"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="One label a line.",
)
@click.option(
    "--input-height",
    "--input_height",
    type=click.IntRange(1),
    default=224,
    show_default=True,
    metavar="N",
    help="Height of the graph's input, in pixels.",
)
@click.option(
    "--input-width",
    "--input_width",
    type=click.IntRange(1),
    default=224,
    show_default=True,
    metavar="N",
    help="Width of the graph's input, in pixels.",
)
@click.option(
    "--input-mean",
    "--input_mean",
    type=options.FINITE,
    default=128,
    show_default=True,
    metavar="X",
    help="Subtracted from each pixel.",
)
@click.option(
    "--input-std",
    "--input_std",
    type=options.FINITE,
    default=128,
    show_default=True,
    metavar="X",
    help="Each pixel is then divided by this.",
)
@click.option(
    "--input-layer",
    "--input_layer",
    default="input",
    show_default=True,
    metavar="NAME",
    help="The node that takes the image.",
)
@click.option(
    "--output-layer",
    "--output_layer",
    default="final_result",
    show_default=True,
    metavar="NAME",
    help="The node with the scores.",
)
@options.debug_option
def command(
    image: Path,
    graph: Path,
    labels: Path,
    input_height: int,
    input_width: int,
    input_mean: float,
    input_std: float,
    input_layer: str,
    output_layer: str,
) -> None:
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

    if not input_std:
        raise click.UsageError("--input-std must not be 0: the pixels are divided by it.")
    given = GraphInput(input_height, input_width, input_mean, input_std, input_layer, output_layer)
    seconds, ranked = label_image(image, graph, labels, given)
    click.echo(f"\nEvaluation time (1-image): {seconds:.3f}s\n")
    for label, score in ranked[:_TOP]:
        click.echo(f"{label} (score={score:.5f})")
