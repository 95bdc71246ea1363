"""``poets coordinator``: drive detached runs on a shared broker."""

import click

from cli import options
from cli.console import say
from workers.settings import Settings


@click.command("coordinator")
@options.with_settings
def command(settings: Settings) -> None:
    """Keep detached runs going.

    Runs until Ctrl-C. You may start several; one of them drives each run.

    \b
    Example:
      poets coordinator --broker-url rediss://:secret@broker.example:6379/0
    """
    import logging
    import threading

    from orchestrator.driving.broker import open_broker
    from orchestrator.driving.coordinator import coordinate
    from orchestrator.embedded.users import attach_broker
    from workers.storage.atomic import check_storage

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    check_storage(settings.storage)
    settings = attach_broker(settings) or settings
    open_broker(settings)
    say("Coordinating; Ctrl-C stops.")
    coordinate(settings, threading.Event())
