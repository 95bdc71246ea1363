"""``poets down``: stop the embedded stack."""

import click

from cli import options
from cli.console import print_json, say
from workers.settings import Settings


@click.command("down")
@options.as_json
@options.quiet
@options.with_settings
def command(settings: Settings, as_json: bool, quiet: bool) -> None:
    """Stop what `poets up` started.

    Runs in progress can be resumed.

    \b
    Example:
      poets down
    """
    from orchestrator.embedded.users import stop_stack

    was_up = stop_stack(settings)
    if as_json:
        print_json({"was_up": was_up})
    else:
        say("The stack is down." if was_up else "There was no stack to stop.", quiet)
