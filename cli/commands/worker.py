"""``poets worker``: a Celery worker on this machine."""

import click

from cli import options
from cli.console import say
from workers.settings import DEVICES, QUEUES, Settings


@click.command("worker")
@click.option(
    "--queues",
    default=",".join(QUEUES),
    show_default=True,
    help="Kinds of work to take: any of bottleneck, train, infer.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes. [as many as cores and memory allow; one on a GPU]",
)
@click.option("--name", help="Name of the worker in Flower. [celery]")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
    help="How much to log.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    help="auto: the GPU if a driver is loaded. [auto]",
)
@options.with_settings
def command(
    settings: Settings, queues: str, concurrency: int | None, name: str | None, log_level: str
) -> None:
    """Run a worker on this machine.

    Runs until Ctrl-C or SIGTERM. Other workers redo what it leaves unfinished.

    \b
    Examples:
      poets worker --broker-url rediss://:secret@broker.example:6379/0
      poets worker --queues infer --concurrency 4
    """
    import os

    from orchestrator.driving.broker import open_broker
    from orchestrator.embedded.users import attach_broker
    from workers.__main__ import run_worker
    from workers.processes.capacity import default_concurrency
    from workers.storage.atomic import check_storage

    unknown = set(queues.split(",")) - set(QUEUES)
    if unknown:
        raise click.UsageError(f"Unknown queue {min(unknown)!r}. Choose from {', '.join(QUEUES)}.")
    check_storage(settings.storage)
    settings = attach_broker(settings) or settings
    open_broker(settings)
    # Celery imports from the current folder, which could be anybody's, and may be removed.
    os.chdir(settings.storage)
    if concurrency is None:
        chosen = default_concurrency(settings.device)
        say(f"Processes: {chosen} (--concurrency overrides this).")
        concurrency = chosen.value
    run_worker(settings, queues, concurrency, name, log_level)
