"""``poets up``: the embedded stack, kept up."""

import click

from cli import options
from cli.console import print_json, say
from workers.settings import Settings


@click.command("up")
@options.as_json
@options.quiet
@options.with_settings
def command(settings: Settings, as_json: bool, quiet: bool) -> None:
    """Start Valkey, a worker and a coordinator in the background.

    They run until `poets down`. Other commands start such a stack when they need one; keeping
    it up saves each of them a second or two, and lets detached runs continue.

    \b
    Example:
      poets up
    """
    from dataclasses import asdict

    from orchestrator.embedded.users import keep_stack
    from workers.errors import SettingsError
    from workers.storage.atomic import check_storage

    if settings.broker_url is not None:
        raise SettingsError(
            "A broker is configured (POETS_BROKER_URL, --broker-url or poets.toml), so there is "
            "nothing to start here. Start `poets worker` and `poets coordinator` instead."
        )
    check_storage(settings.storage)
    stack = keep_stack(settings)
    running = stack.running()
    facts = asdict(running) if running else {}
    if as_json:
        print_json({"broker_url": stack.broker_url, "log": str(stack.log), **facts})
    else:
        say(f"The stack is up with {facts.get('concurrency')} worker processes.", quiet)
        say(f"Broker: {stack.broker_url}. Log: {stack.log}. `poets down` stops it.", quiet)
