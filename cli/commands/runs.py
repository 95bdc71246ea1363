"""``poets runs``: what runs there are."""

import click

from cli import options
from cli.console import print_json, print_table, say
from workers.settings import Settings


@click.command("runs")
@options.as_json
@options.with_settings
def command(settings: Settings, as_json: bool) -> None:
    """List the runs and their states, oldest first.

    \b
    Example:
      poets runs
    """
    from orchestrator.runs import list_states

    states = list_states(settings)
    if as_json:
        print_json([state.to_dict() for state in states])
    elif states:
        print_table(
            ("run", "kind", "state", "images", "created", "result"),
            [
                (
                    state.plan.name,
                    state.plan.kind,
                    state.state,
                    state.plan.images,
                    state.plan.created[:16].replace("T", " "),
                    state.headline,
                )
                for state in states
            ],
        )
    else:
        say(f"No runs in {settings.storage} yet. Make one with `poets submit-dataset DIR`.")
