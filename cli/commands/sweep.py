"""``poets sweep``: try many settings at once and keep the best."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from cli import options
from cli.advice import with_advice
from cli.attend import describe_interval, print_result
from cli.console import print_json, print_table, show_progress
from cli.training_options import OPTIONS
from workers.settings import Settings

_SWEPT = ("solver", "learning_rate", "steps", "train_batch_size", "class_weight")


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
        row = replace(OPTIONS[name], type=_Values(OPTIONS[name].type), metavar="A,B,...")
        command = row.option(row.flag, row.help(states_default=False))(command)
    return command


@click.command("sweep")
@click.argument("run", metavar="RUN")
@click.option(
    "--architecture",
    type=_Values(click.STRING),
    metavar="A,B,...",
    help="Pretrained networks; each new one computes all photographs first.",
)
@_swept
@click.option("--name", help="Name of the run for the best. [RUN-sweep-1, ...]")
@options.as_json
@options.quiet
@options.with_settings
def command(
    settings: Settings, run: str, name: str | None, as_json: bool, quiet: bool, **grid: Any
) -> None:
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
        with show_progress(quiet) as on_progress:
            shown = with_advice(on_progress, settings)
            sweep = sweep_run(settings, run, given, name, shown)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "Stopped. The same command starts again; no bottleneck is computed twice."
        ) from None
    if as_json:
        best = to_dict(sweep.best)
        print_json({"sweep": sweep.name, "trials": sweep.trials, "best": best})
        return
    _print_board(sweep.trials, list(given))
    click.echo()
    print_result(sweep.best)


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
            click.echo(trial["error"])


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
