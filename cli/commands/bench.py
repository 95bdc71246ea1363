"""``poets bench``: where the time goes, for your photographs on this machine."""

from pathlib import Path
from typing import Any

import click

from cli import options
from cli.console import Session, print_json


@click.command("bench")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.architecture
@options.weights
@click.option(
    "--images",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    metavar="N",
    help="Number of images to forecast for.",
)
@click.option(
    "--machines",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of machines like this one, for the second forecast.",
)
@options.with_session()
def command(session: Session, **asked: Any) -> None:
    """Measure how long the images below DIR take on this machine.

    Reads, decodes and computes a random sample of up to 400 images as a worker does, stage by
    stage: in one process, then in one process per core. This takes about 15 seconds, or longer
    with a new backbone, and leaves no run behind.

    \b
    Examples:
      poets bench holiday_photos
      poets bench holiday_photos --images 10000000 --machines 8
    """
    from cli.bench_profile import print_profile
    from orchestrator.benchmark.profile import BenchRequest, measure

    with session.show_progress() as on_progress:
        profile = measure(session.settings, BenchRequest(**asked), on_progress).to_json()
    if session.as_json:
        print_json(profile)
    else:
        print_profile(profile)
