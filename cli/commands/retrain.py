"""``poets retrain``: the codelab's retrain.py, by its own command line."""

import shlex
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.console import print_json, say, show_progress
from cli.retrain_flags import RetrainFlags, retrain_flags
from cli.running import attend
from workers.settings import Settings

if TYPE_CHECKING:
    from orchestrator.codelab import FinalTest
    from workers.storage.layout import RunFolder
    from workers.storage.plan import Plan, TrainingOptions


@click.command(
    "retrain",
    # The codelab writes --image_dir.
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)
@retrain_flags
@click.option(
    "--weights",
    metavar="PATH",
    help="Keras weights file, or random-SEED for none. [found or downloaded]",
)
@options.as_json
@options.quiet
@partial(options.with_settings, default_storage="bottleneck_dir")
def command(
    settings: Settings, weights: str | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Train by gradient descent, by the command line of the codelab's retrain.py.

    All its flags are here, spelled with "_" or "-". `poets submit-dataset` gives a better
    model in less time.

    \b
    Examples:
      poets retrain --image_dir=flower_photos --architecture=mobilenet_0.50_224
      poets retrain --image-dir flower_photos --how-many-training-steps 500 \\
        --bottleneck-dir tf_files/bottlenecks --output-graph tf_files/retrained_graph.pb \\
        --output-labels tf_files/retrained_labels.txt
    """
    from orchestrator.codelab import examine_test
    from orchestrator.graphs import export_graphs
    from workers.heads.kept import list_kept

    started = time.monotonic()
    flags = RetrainFlags(**given)
    run, plan = _begin(settings, flags, weights, quiet)
    result = _follow(settings, run, started, quiet)
    if result["quarantined"]:
        bad = f"{result['quarantined']:,} of {plan.images:,} images could not be read"
        say(f"{bad}: {result['model']}/quarantine.csv", quiet)
    test = examine_test(run, plan, flags.test_batch_size)
    if not as_json:
        _print_test(test, flags)
    heads = {
        flags.intermediate_output_graphs_dir / f"intermediate_{step}.pb": head
        for step, head in list_kept(run.heads).items()
    }
    with show_progress(quiet) as on_progress:
        export_graphs(
            settings,
            str(run.model),
            flags.output_graph,
            flags.output_labels,
            flags.final_tensor_name,
            heads,
            on_progress,
        )
    say(f"Graph and labels are in {flags.output_graph} and {flags.output_labels}.", quiet)
    say(f"What it gets wrong: {result['report']}", quiet)
    if as_json:
        print_json({**result, **_describe(test, flags, list(heads))})


def _begin(
    settings: Settings, flags: RetrainFlags, weights: str | None, quiet: bool
) -> "tuple[RunFolder, Plan]":
    """Check all that can be checked before any work, and plan the run."""
    from orchestrator.codelab import link_summaries
    from orchestrator.exports import check_tensor_name
    from orchestrator.graphs import check_outputs
    from orchestrator.jobs import TrainingRequest, plan_submission
    from orchestrator.variants import choose_variants
    from workers.storage.plan import read_plan

    check_tensor_name(flags.final_tensor_name)
    check_outputs(
        (flags.output_graph, flags.output_labels),
        (flags.intermediate_output_graphs_dir, flags.summaries_dir),
    )
    model_dir = flags.model_dir.expanduser().absolute()
    searching = replace(settings, weights_dirs=(*settings.weights_dirs, model_dir))
    training = choose_variants(_training(flags), None)
    request = TrainingRequest(flags.image_dir, flags.architecture, training, weights=weights)
    with show_progress(quiet) as on_progress:
        run = plan_submission(searching, request, on_progress)
    plan = read_plan(run)
    summaries = link_summaries(run, flags.summaries_dir)
    say(f"Run {run.name}: {plan.images:,} images, {len(plan.labels)} labels.", quiet)
    say(
        f"It is kept in {settings.storage}; see `poets show {run.name}{_storage_flag(settings)}`.",
        quiet,
    )
    say(f"TensorBoard finds it in {summaries}.", quiet)
    return run, plan


def _follow(settings: Settings, run: "RunFolder", started: float, quiet: bool) -> dict[str, Any]:
    """Bring the run to its end, printing each step as soon as it is there."""
    steps = _Steps(run, quiet)
    flag = _storage_flag(settings)
    result = attend(settings, run.name, started, quiet, steps.look, flag)
    steps.look()
    return result


def _storage_flag(settings: Settings) -> str:
    return f" --storage {shlex.quote(str(settings.storage))}"


def _training(flags: RetrainFlags) -> "TrainingOptions":
    from workers.storage.plan import TrainingOptions

    return TrainingOptions(
        testing_percentage=flags.testing_percentage,
        validation_percentage=flags.validation_percentage,
        solver="sgd",
        steps=flags.how_many_training_steps,
        learning_rate=flags.learning_rate,
        train_batch_size=flags.train_batch_size,
        eval_step_interval=flags.eval_step_interval,
        validation_batch_size=flags.validation_batch_size,
        store_interval=flags.intermediate_store_frequency,
        flip_left_right=flags.flip_left_right,
        random_crop=flags.random_crop,
        random_scale=flags.random_scale,
        random_brightness=flags.random_brightness,
    )


class _Steps:
    """Prints each step of a run's learning curve once, as soon as it is there."""

    def __init__(self, run: "RunFolder", quiet: bool) -> None:
        self._path = run.steps
        self._quiet = quiet
        self._size = 0
        self._last = -1

    def look(self) -> None:
        from workers.heads.curve import describe_step, read_steps

        if self._quiet:
            return
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._size:
            return
        self._size = size
        for step in read_steps(self._path):
            if step.step > self._last:
                self._last = step.step
                say("\n".join(describe_step(step)))


def _print_test(test: "FinalTest", flags: RetrainFlags) -> None:
    if test.accuracy is None:
        say("No image was held out for testing, so there is no final test accuracy.")
        return
    click.echo(f"Final test accuracy = {test.accuracy:.1%} (N={test.images})")
    if flags.print_misclassified_test_images:
        click.echo("=== MISCLASSIFIED TEST IMAGES ===")
        for path, predicted in test.misclassified:
            click.echo(f"{flags.image_dir / path!s:>70}  {predicted}")


def _describe(test: "FinalTest", flags: RetrainFlags, graphs: list[Path]) -> dict[str, Any]:
    return {
        "final_test_accuracy": test.accuracy,
        "final_test_images": test.images,
        "misclassified": [
            {"path": path, "predicted": predicted} for path, predicted in test.misclassified
        ],
        "output_graph": str(flags.output_graph),
        "output_labels": str(flags.output_labels),
        "intermediate_graphs": [str(path) for path in graphs],
    }
