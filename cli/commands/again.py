"""``poets train``, ``retry``, ``relabel`` and ``sweep``: another run on the photographs of one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cli import options
from cli.advice import with_advice
from cli.attend import conduct, describe_interval, print_result
from cli.console import Session, echo, print_json, print_table
from cli.training_options import HEAD_OPTIONS, OPTIONS, training_options
from orchestrator.attended import leave_runs

_SWEPT = ("solver", "learning_rate", "steps", "train_batch_size", "class_weight")
# A sweep refuses larger rates, which a single run takes.
_LEARNING_RATE = options.FiniteRange(0, 1e6, min_open=True)


@options.command("train")
@click.argument("run", metavar="RUN")
@click.option("--name", help="Name of the new run. [RUN-1, RUN-2, ...]")
@training_options(HEAD_OPTIONS, states_defaults=False)
@options.max_failed
@options.with_session(may_detach=True)
def train(session: Session, run: str, name: str | None, training: dict[str, Any]) -> None:
    """Train another head on the photographs of RUN.

    A head is the small classifier on top of the pretrained network. The images, labels and
    splits are those of RUN, and so is every setting that you do not give. No photograph is
    read again.

    \b
    Examples:
      poets train flower_photos-1 --learning-rate 0.1
      poets train flower_photos-1 --class-weight balanced --name balanced
      poets train flower_photos-1 --target-precision 0.98
      poets train flower_photos-1 --target-precision none
    """
    from orchestrator.jobs.submit import plan_retraining

    with session.show_progress() as on_progress:
        new = plan_retraining(
            session.settings,
            run,
            training,
            name=name,
            detach=session.detach,
            on_progress=on_progress,
        )
    session.say(f"Run {new.name}: the images of {run} with another head")
    conduct(session, new)


@options.command("retry")
@click.argument("run", metavar="RUN")
@click.option("--name", help="Name of the new run. [RUN-retry-1, RUN-retry-2, ...]")
@options.max_failed
@options.with_session(may_detach=True)
def retry(session: Session, run: str, name: str | None) -> None:
    """Try the failed images of RUN again.

    Use it when files were repaired, or a mount is back. RUN stays as it is. A new run gets its
    images, labels, splits and settings; each image that failed is read again, whatever the
    reason was, and everything else comes from the cache. A training run gets a new model; a
    labelling job replaces its output.

    \b
    Examples:
      poets retry flower_photos-1
      poets retry holiday_photos-labels-1 --json
    """
    from orchestrator.jobs.retry_images import plan_retry

    with session.show_progress() as on_progress:
        new = plan_retry(
            session.settings, run, name=name, detach=session.detach, on_progress=on_progress
        )
    if new is None:
        session.say(f"No image of run {run} has failed; there is nothing to try again.")
        if session.as_json:
            print_json({"run": run, "retried": 0})
        return
    session.say(f"Run {new.name}: the images of {run}, and those that failed tried again")
    conduct(session, new)


@options.command("relabel")
@click.argument("run", metavar="RUN")
@click.argument("corrections", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the new run. [RUN-1, RUN-2, ...]")
@options.with_session(may_detach=True)
def relabel(session: Session, run: str, corrections: Path, name: str | None) -> None:
    """Correct labels of RUN and train it again.

    CSV has the columns `path` and `label`, as in the corrections.csv of a report. RUN and the
    photographs stay as they are, in their folders: a new run gets the images, splits and settings
    of RUN and the corrected labels. No photograph is read again.

    \b
    Examples:
      poets relabel flower_photos-1 corrections.csv
      poets relabel flower_photos-1 corrections.csv --name flowers-corrected
    """
    from orchestrator.jobs.relabel import plan_relabelling

    with session.show_progress() as on_progress:
        planned = plan_relabelling(
            session.settings,
            run,
            corrections,
            name=name,
            detach=session.detach,
            on_progress=on_progress,
        )
    same = f" ({planned.unchanged:,} were right already)" if planned.unchanged else ""
    session.say(
        f"Run {planned.run.name}: the images of {run}, {planned.changed:,} relabelled{same}"
    )
    conduct(session, planned.run)


class _Values(click.ParamType[list[Any]]):
    """Values separated by commas, each of one type."""

    name = "values"

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[Any]:
        parts = [part.strip() for part in str(value).split(",")]
        return [self.kind.convert(part, param, ctx) for part in parts if part]


def _swept(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a flag of several values for each option that a sweep can vary."""
    for name in reversed(_SWEPT):
        kind = _LEARNING_RATE if name == "learning_rate" else OPTIONS[name].type
        row = replace(OPTIONS[name], type=_Values(kind), metavar="A,B,...")
        command = row.option(row.flag, row.help(states_default=False))(command)
    return command


@options.command("sweep")
@click.argument("run", metavar="RUN")
@click.option(
    "--architecture",
    type=_Values(click.STRING),
    metavar="A,B,...",
    help="Pretrained networks; each new one computes all photographs first.",
)
@_swept
@click.option("--name", help="Name of the run for the best. [RUN-sweep-1, ...]")
@options.with_session()
def sweep(session: Session, run: str, name: str | None, **grid: Any) -> None:
    """Try many settings on the photographs of RUN and keep the best.

    Trains a head for each combination of the values given. The one with the best validation
    accuracy becomes a run, and only that one is evaluated on the test photographs.

    \b
    Examples:
      poets sweep flower_photos-1 --learning-rate 0.005,0.01,0.1,1.0
      poets sweep flower_photos-1 --architecture mobilenet_0.25_128,mobilenet_0.50_224
    """
    from orchestrator.driving.result import to_dict
    from orchestrator.jobs.sweep import sweep_run

    given = {key: values for key, values in grid.items() if values}
    if not given:
        raise click.UsageError("Give values to try, such as --learning-rate 0.01,0.1,1.0.")
    try:
        with session.show_progress() as on_progress:
            shown = with_advice(on_progress, session.settings)
            trials, best = sweep_run(session.settings, run, given, name, shown)
    except KeyboardInterrupt:
        # Trials that were planned, and not yet driven.
        leave_runs()
        raise KeyboardInterrupt(
            "Stopped. The same command starts again; no bottleneck is computed twice."
        ) from None
    if session.as_json:
        facts = to_dict(best)
        print_json({"sweep": facts["run"], "trials": trials, "best": facts})
        return
    _print_board(trials, list(given))
    echo()
    print_result(best, session.flags)


def _print_board(trials: list[dict[str, Any]], varied: list[str]) -> None:
    columns = [name for name in varied if name != "architecture"]
    header = ["rank", "architecture", *(name.replace("_", " ") for name in columns)]
    rows = []
    for rank, trial in enumerate(trials, 1):
        settings = [trial["architecture"], *(str(trial.get(name, "")) for name in columns)]
        rows.append([rank, *settings, *_figures(trial)])
    print_table([*header, "validation", "log loss", "MB", "images/s"], rows)
    for trial in trials:
        if "error" in trial:
            echo(trial["error"])


def _figures(trial: dict[str, Any]) -> list[str]:
    if "error" in trial:
        return ["failed", "", "", ""]
    speed = trial["images_per_second"]
    return [
        f"{trial['validation_accuracy']:.1%}"
        f"{describe_interval(trial['validation_accuracy_interval'])}",
        f"{trial['validation_log_loss']:.3f}",
        f"{trial['size_bytes'] / 1e6:.1f}",
        "" if speed is None else f"{speed:,.0f}",
    ]
