"""``poets submit-dataset``: a folder of label folders becomes a classifier."""

from pathlib import Path
from typing import Any

import click

from cli import options
from cli.console import say, show_download
from cli.running import conduct
from workers.settings import Settings


@click.command("submit-dataset")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the run. [DIR-1, DIR-2, ...]")
@click.option(
    "--architecture",
    metavar="NAME",
    default="mobilenet_0.50_224",
    show_default=True,
    help="The backbone; `poets architectures` lists all.",
)
@click.option("--testing-percentage", type=float, default=10, show_default=True)
@click.option("--validation-percentage", type=float, default=10, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split and solver.")
@click.option(
    "--solver",
    type=click.Choice(["lbfgs", "sgd"]),
    default="lbfgs",
    show_default=True,
    help="lbfgs solves the problem; sgd descends as the codelab did.",
)
@click.option("--steps", type=click.IntRange(1), default=4000, show_default=True, help="sgd only.")
@click.option("--learning-rate", type=float, default=0.01, show_default=True, help="sgd only.")
@click.option(
    "--train-batch-size", type=click.IntRange(1), default=100, show_default=True, help="sgd only."
)
@click.option(
    "--eval-step-interval", type=click.IntRange(1), default=10, show_default=True, help="sgd only."
)
@click.option(
    "--validation-batch-size",
    type=click.IntRange(-1),
    default=100,
    show_default=True,
    help="Images looked at every --eval-step-interval; -1 for all. sgd only.",
)
@click.option(
    "--weights",
    metavar="PATH",
    help="Keras weights file, or random-SEED for none. [found or downloaded]",
)
@options.batch_size
@options.detach
@options.as_json
@options.quiet
@options.with_settings
def command(
    settings: Settings,
    folder: Path,
    name: str | None,
    architecture: str,
    weights: str | None,
    batch_size: int | None,
    detach: bool,
    as_json: bool,
    quiet: bool,
    **training: Any,
) -> None:
    """Turn the photographs in DIR into a classifier.

    DIR holds one folder for each label, with its images in it, at any depth.

    \b
    Examples:
      poets submit-dataset flower_photos
      poets submit-dataset flower_photos --name spring --architecture inception_v3
    """
    from orchestrator.jobs import TrainingRequest, plan_submission
    from workers.storage.layout import Storage
    from workers.storage.plan import TrainingOptions, read_plan

    request = TrainingRequest(
        folder, architecture, TrainingOptions(**training), name, weights, batch_size, detach
    )
    with show_download(quiet) as on_download:
        run = plan_submission(settings, request, on_download).name
    plan = read_plan(Storage(settings.storage).run(run))
    ignored = f", {sum(plan.ignored.values())} other files ignored" if plan.ignored else ""
    say(
        f"Run {run}: {plan.images:,} images, {len(plan.labels)} labels, "
        f"{plan.cached:,} known already{ignored}",
        quiet,
    )
    conduct(settings, run, detach, as_json, quiet)
