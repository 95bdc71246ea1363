"""``poets runs``: what runs there are."""

from typing import TYPE_CHECKING

import click

from cli import options
from cli.commands.show import state_to_dict
from cli.console import print_json, print_table, say
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.driving.result import Result
    from orchestrator.runs import RunState


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

    states, flags = list_states(settings), needed_flags(settings)
    if as_json:
        print_json([state_to_dict(state, flags) for state in states])
    elif states:
        header = ("run", "kind", "state", "images", "created", "result")
        print_table(header, [_row(state, flags) for state in states])
    else:
        say(f"No runs in {settings.storage} yet. Make one with `poets submit-dataset DIR`.")


def _row(state: "RunState", flags: str) -> tuple[object, ...]:
    facts = state_to_dict(state, flags)
    created = facts["created"][:16].replace("T", " ")
    end = headline(state.result) if state.result else facts["note"]
    return state.name, facts["kind"], state.state, facts["images"], created, end


def headline(result: "Result") -> str:
    """Return the result of a run in a few words."""
    from orchestrator.driving.result import LabellingResult

    if isinstance(result, LabellingResult):
        unsure = f"{result.unsure} unsure, " if result.unsure else ""
        return f"{result.ok} labelled, {unsure}{result.failed} failed"
    for split, accuracy in result.accuracies.items():
        return f"{accuracy:.1%} {split} accuracy"
    return "nothing held out"
