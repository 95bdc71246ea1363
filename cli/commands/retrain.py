"""``poets retrain``: the codelab's retrain.py, by its own command line."""

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.codelab.files import follow, keep_flags, leave_files
from cli.codelab.flags import RetrainFlags, retrain_flags
from cli.console import say, show_progress
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from workers.storage.run import Run


@click.command(
    "retrain",
    # The codelab writes --image_dir.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
@retrain_flags
@options.weights
@options.as_json
@options.quiet
@partial(options.with_settings, default_storage="bottleneck_dir")
def command(
    settings: Settings, weights: str | None, as_json: bool, quiet: bool, **given: Any
) -> None:
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
    started = time.monotonic()
    flags = RetrainFlags(**given)
    run = _begin(settings, flags, weights, quiet)
    result = follow(settings, run, started, quiet)
    leave_files(settings, run, flags, result, as_json, quiet)


def _begin(settings: Settings, flags: RetrainFlags, weights: str | None, quiet: bool) -> "Run":
    """Check all that can be checked before any work, and plan the run."""
    from orchestrator.exporting.codelab_files import link_summaries
    from orchestrator.exporting.export import check_tensor_name
    from orchestrator.exporting.frozen_graphs import check_outputs
    from orchestrator.jobs.submit import TrainingRequest, plan_submission
    from orchestrator.planning.rows import choose_variants

    check_tensor_name(flags.final_tensor_name)
    check_outputs(
        (flags.output_graph, flags.output_labels),
        (flags.intermediate_output_graphs_dir, flags.summaries_dir),
    )
    model_dir = flags.model_dir.expanduser().absolute()
    searching = replace(settings, weights_dirs=(*settings.weights_dirs, model_dir))
    training = choose_variants(flags.training(), None)
    request = TrainingRequest(flags.image_dir, flags.architecture, training, weights=weights)
    with show_progress(quiet) as on_progress:
        run = plan_submission(searching, request, on_progress)
    keep_flags(run.folder, flags)
    plan = run.plan
    summaries = link_summaries(run.folder, flags.summaries_dir)
    say(f"Run {run.name}: {plan.images:,} images, {len(plan.labels)} labels.", quiet)
    say(
        f"It is kept in {settings.storage}; see `poets show {run.name}{needed_flags(settings)}`.",
        quiet,
    )
    say(f"TensorBoard finds it in {summaries}.", quiet)
    return run
