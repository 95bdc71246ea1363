"""``poets retrain``: the codelab's retrain.py, by its own command line."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.codelab.files import follow, keep_flags, leave_files
from cli.codelab.flags import RetrainFlags, retrain_flags
from cli.console import Session

if TYPE_CHECKING:
    from workers.storage.plan import Run


@click.command(
    "retrain",
    # The codelab writes --image_dir.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
@retrain_flags
@options.weights
@options.with_session(default_storage="bottleneck_dir")
def command(session: Session, weights: str | None, **given: Any) -> None:
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
    flags = RetrainFlags(**given)
    run = _begin(session, flags, weights)
    leave_files(session, run, flags, follow(session, run))


def _begin(session: Session, flags: RetrainFlags, weights: str | None) -> "Run":
    """Check all that can be checked before any work, and plan the run."""
    from orchestrator.exporting.codelab_files import check_outputs, link_summaries
    from orchestrator.exporting.export import check_tensor_name
    from orchestrator.jobs.submit import TrainingRequest, plan_submission
    from orchestrator.planning.batches import choose_variants

    check_tensor_name(flags.final_tensor_name)
    check_outputs(
        (flags.output_graph, flags.output_labels),
        (flags.intermediate_output_graphs_dir, flags.summaries_dir),
    )
    settings = session.settings
    model_dir = flags.model_dir.expanduser().absolute()
    searching = replace(settings, weights_dirs=(*settings.weights_dirs, model_dir))
    training = choose_variants(flags.training(), None)
    request = TrainingRequest(flags.image_dir, flags.architecture, training, weights=weights)
    with session.show_progress() as on_progress:
        run = plan_submission(searching, request, on_progress)
    keep_flags(run.folder, flags)
    plan = run.plan
    summaries = link_summaries(run.folder, flags.summaries_dir)
    session.say(f"Run {run.name}: {plan.images:,} images, {len(plan.labels)} labels.")
    shown = f"poets show {run.name}{session.flags}"
    session.say(f"It is kept in {settings.storage}; see `{shown}`.")
    session.say(f"TensorBoard finds it in {summaries}.")
    return run
