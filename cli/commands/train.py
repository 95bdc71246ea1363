"""``poets train``: another head on bottlenecks that are there already."""

import time
from typing import Any

import click

from cli import options
from cli.attend import conduct
from cli.console import say, show_progress
from cli.training_options import HEAD_OPTIONS, training_options
from workers.settings import Settings


@click.command("train")
@click.argument("run", metavar="RUN")
@click.option("--name", help="Name of the new run. [RUN-1, RUN-2, ...]")
@training_options(HEAD_OPTIONS, states_defaults=False)
@options.detach
@options.as_json
@options.quiet
@options.with_settings
def command(
    settings: Settings,
    run: str,
    name: str | None,
    training: dict[str, Any],
    detach: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train another head on the photographs of RUN.

    A head is the small classifier on top of the pretrained network. The images, labels and
    splits are those of RUN, and so is every setting that you do not give. No photograph is
    read again.

    \b
    Examples:
      poets train flower_photos-1 --learning-rate 0.1
      poets train flower_photos-1 --class-weight balanced --name balanced
    """
    from orchestrator.jobs.train_again import plan_retraining

    started = time.monotonic()
    with show_progress(quiet) as on_progress:
        new = plan_retraining(
            settings, run, training, name=name, detach=detach, on_progress=on_progress
        )
    say(f"Run {new.name}: the images of {run} with another head", quiet)
    conduct(settings, new, started, detach, as_json, quiet)
