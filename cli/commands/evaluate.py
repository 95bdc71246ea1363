"""``poets evaluate``: how often a graph or model is right on a folder of photographs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli import options
from cli.codelab.script_command import ScriptCommand
from cli.console import Session, echo, print_json, print_table

_MOST_CONFUSED = 20


def _flag(name: str, metavar: str, kind: Any, text: str) -> Callable[[Any], Any]:
    return click.option(name, metavar=metavar, type=kind, help=text)


_PIXELS = click.IntRange(1)


@click.command(
    "evaluate",
    cls=ScriptCommand,
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option(
    "--graph",
    "path",
    metavar="FILE|RUN|PATH|latest",
    required=True,
    help="A frozen graph (.pb), a LiteRT file (.tflite, .lite), a run, or a model folder.",
)
@_flag("--labels", "FILE", str, "One label a line. [in the file, or beside it]")
@_flag("--input-height", "N", _PIXELS, "Height of the input. [as the graph says, else 224]")
@_flag("--input-width", "N", _PIXELS, "Width of the input. [as the graph says, else 224]")
@_flag("--input-mean", "X", options.FINITE, "Subtracted from each pixel. [as it says, else 128]")
@_flag("--input-std", "X", options.FINITE, "Pixels are divided by it. [as it says, else 128]")
@_flag("--input-layer", "NAME", str, "Node that takes the image. [input, or the only one]")
@_flag("--output-layer", "NAME", str, "Node with the scores. [final_result, or the only one]")
@options.with_session()
def command(session: Session, folder: Path, **given: Any) -> None:
    """Print how often a graph or model is right on the photographs in DIR.

    DIR has one folder of photographs for each label. All of them are tried, so give
    photographs that the model was not trained on. They are prepared as in training.

    \b
    Examples:
      poets evaluate holdout --graph tf_files/retrained_graph.pb
      poets evaluate holdout --graph tf_files/optimized_graph.lite --labels labels.txt
      poets evaluate holdout --graph flowers-1
    """
    from orchestrator.exporting.evaluation import evaluate_model
    from workers.exports.scored_model import ScoredModel

    if given["input_std"] == 0:
        raise click.UsageError("--input-std must not be 0: the pixels are divided by it.")
    with session.show_progress() as on_progress:
        found = evaluate_model(session.settings, ScoredModel(**given), folder, on_progress)
    for image in found["failed"][:_MOST_CONFUSED]:
        session.say(f"{image['path']}: {image['reason']}")
    if session.as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    low, high = found["accuracy_interval"]
    failed = f", {len(found['failed']):,} could not be read" if found["failed"] else ""
    # As the codelab's evaluate.py prints them.
    echo(f"Accuracy: {found['accuracy']:g}", f"Cross Entropy: {found['log_loss']:g}")
    echo(f"{found['images']:,} images{failed}; 95% interval {low:.3f} to {high:.3f}", "")
    shown = [row for row in found["per_label"] if row["support"] or row["precision"] is not None]
    header = ("images", "recall", "precision", "label")
    print_table(header, [(row["support"], *_shares(row), row["label"]) for row in shown])
    labels, confusion = found["labels"], found["confusion"]
    pairs = [
        (count, labels[row], labels[column])
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    pairs.sort(key=lambda pair: -pair[0])
    if pairs:
        echo("")
        print_table(("images", "label", "taken for"), pairs[:_MOST_CONFUSED])


def _shares(row: dict[str, Any]) -> list[str]:
    values = (row["recall"], row["precision"])
    return ["-" if value is None else f"{value:.1%}" for value in values]
