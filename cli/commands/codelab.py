"""``poets retrain`` and ``poets label-image``: the codelab's scripts, by their command lines."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.codelab.files import follow, keep_flags, leave_files
from cli.codelab.flags import RetrainFlags, find_module, retrain_flags
from cli.codelab.script_command import ScriptCommand
from cli.console import Session, echo
from cli.styles import warning

if TYPE_CHECKING:
    from workers.storage.plan import Run

# The codelab writes --image_dir.
_SPELLING = {"token_normalize_func": lambda name: name.replace("_", "-")}
_TOP = 5


def _architecture_of(ctx: click.Context, _: click.Parameter, url: str | None) -> str | None:
    found = find_module(url) if url else None
    if url and not found:
        raise click.BadParameter(
            f"{url} has no counterpart here. Give --architecture; `poets architectures` lists all."
        )
    return found


@options.command(
    "retrain",
    cls=ScriptCommand,
    context_settings=_SPELLING,
    script_flags=[one.name for one in fields(RetrainFlags)],
)
@retrain_flags
@click.option(
    "--tfhub-module",
    metavar="URL",
    callback=_architecture_of,
    help="Module of TensorFlow Hub, as later versions of retrain.py take it: its architecture.",
)
@options.max_failed
@options.weights
@options.with_session(default_storage="bottleneck_dir")
def retrain(session: Session, weights: str | None, tfhub_module: str | None, **given: Any) -> None:
    """Train with the command line of the codelab's retrain.py.

    Takes all its flags, spelled with "_" or "-", and trains by gradient descent. `poets
    submit-dataset` gives a better model in less time.

    \b
    Examples:
      poets retrain --image_dir=flower_photos --architecture=mobilenet_0.50_224
      poets retrain --image-dir flower_photos --how-many-training-steps 500 \\
        --bottleneck-dir tf_files/bottlenecks --output-graph tf_files/retrained_graph.pb \\
        --output-labels tf_files/retrained_labels.txt
    """
    if tfhub_module:
        given["architecture"] = tfhub_module
    flags = RetrainFlags(**given)
    run = _begin(session, flags, weights)
    leave_files(session, run, flags, follow(session, run))


def _begin(session: Session, flags: RetrainFlags, weights: str | None) -> "Run":
    """Check all that can be checked before any work, and plan the run."""
    from orchestrator.dataset.dataset import Source
    from orchestrator.exporting.codelab_files import check_outputs, link_summaries
    from orchestrator.exporting.export import check_tensor_name
    from orchestrator.jobs.submit import TrainingRequest, plan_submission
    from orchestrator.planning.batches import choose_variants

    check_tensor_name(flags.final_tensor_name)
    check_outputs(
        (flags.output_graph, flags.output_labels),
        (flags.intermediate_graph(0).parent, flags.summaries_dir),
    )
    settings = session.settings
    model_dir = flags.model_dir.expanduser().absolute()
    searching = replace(settings, weights_dirs=(*settings.weights_dirs, model_dir))
    training = choose_variants(flags.training(), None)
    # By its own percentages, as the codelab's script does.
    source = Source(flags.image_dir, splits="hash")
    request = TrainingRequest(source, flags.architecture, training, weights=weights)
    with session.show_progress() as on_progress:
        run = plan_submission(searching, request, on_progress)
    keep_flags(run.folder, flags)
    summaries = link_summaries(run.folder, flags.summaries_dir)
    session.say(*(f"Looking for images in '{label}'" for label in run.plan.labels))
    session.say(f"Run {run.name}: {run.plan.images:,} images, {len(run.plan.labels)} labels.")
    for text in run.plan.warnings:
        session.say([warning("Warning: "), text])
    session.say(f"It is kept in {settings.storage}; see `poets show {run.name}{session.flags}`.")
    session.say(f"TensorBoard finds it in {summaries}.")
    return run


def _flag(name: str, metavar: str, default: object, kind: Any, text: str) -> Callable[[Any], Any]:
    return click.option(
        name, metavar=metavar, default=default, show_default=True, type=kind, help=text
    )


_FILE, _PIXELS = click.Path(path_type=Path), click.IntRange(1)


@options.command("label-image", cls=ScriptCommand, context_settings=_SPELLING)
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
def label_image(image: Path, graph: Path, labels: Path, **given: Any) -> None:
    """Label one image with a frozen graph, as the codelab's label_image.py does.

    Prepares the image as that script does, so the scores are the same. `poets classify`
    prepares it as in training: rotated upright, and resized without skipping pixels.

    \b
    Examples:
      poets label-image --image rose.jpg
      poets label-image --image rose.jpg --graph model/retrained_graph.pb \\
        --labels model/retrained_labels.txt
    """
    from workers.exports import frozen_graph

    if not given["input_std"]:
        raise click.UsageError("--input-std must not be 0: the pixels are divided by it.")
    seconds, ranked = frozen_graph.label_image(
        image, graph, labels, frozen_graph.GraphInput(**given)
    )
    echo("", f"Evaluation time (1-image): {seconds:.3f}s", "")
    for label, score in ranked[:_TOP]:
        echo(f"{label} (score={score:.5f})")
