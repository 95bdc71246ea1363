"""``poets worker``: a Celery worker on this machine."""

import click

from cli import options
from cli.console import say
from workers.settings import Settings

_QUEUES = ("bottleneck", "train", "infer")


@click.command("worker")
@click.option(
    "--queues",
    default=",".join(_QUEUES),
    show_default=True,
    help="What this worker does: any of bottleneck, train, infer.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    help="Processes. [one a core that fits into the memory; one on a GPU]",
)
@click.option("--name", help="Name of the worker in Flower. [celery]")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    help="auto takes the GPU where a driver is loaded. [auto]",
)
@options.with_settings
def command(
    settings: Settings, queues: str, concurrency: int | None, name: str | None, log_level: str
) -> None:
    """Run a worker until Ctrl-C or SIGTERM; what it was doing is done again elsewhere.

    \b
    Examples:
      poets worker --broker-url rediss://:secret@broker.example:6379/0
      poets worker --queues infer --concurrency 4
    """
    import os

    from orchestrator.driving.broker import open_broker
    from orchestrator.embedded.users import attach_broker
    from workers.errors import BrokerError
    from workers.processes.capacity import default_concurrency
    from workers.storage.atomic import check_storage

    unknown = set(queues.split(",")) - set(_QUEUES)
    if unknown:
        raise click.UsageError(f"Unknown queue {min(unknown)!r}. Choose from {', '.join(_QUEUES)}.")
    check_storage(settings.storage)
    attached = attach_broker(settings)
    if attached is None:
        raise BrokerError(
            "There is no broker to work for. Give --broker-url or POETS_BROKER_URL, or start "
            "the embedded stack with `poets up`."
        )
    # The Celery application reads its settings when it is imported, which comes next.
    os.environ.update(attached.environment())
    # Celery imports from the current folder, which is anybody's, and may be removed.
    os.chdir(attached.storage)
    open_broker(attached)
    from workers.__main__ import run_worker

    if concurrency is None:
        chosen = default_concurrency(attached.device)
        say(f"Processes: {chosen} (--concurrency overrules it).")
        concurrency = chosen.value
    run_worker(queues, concurrency, name, log_level)
