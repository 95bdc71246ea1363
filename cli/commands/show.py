"""``poets show``: one run."""

from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.advice import describe_state
from cli.attend import print_result
from cli.console import print_json
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.runs import RunState


@click.command("show")
@click.argument("run", metavar="RUN")
@options.as_json
@options.with_settings
def command(settings: Settings, run: str, as_json: bool) -> None:
    """Show the state of RUN, and its result once it has finished.

    \b
    Example:
      poets show flower_photos-1
    """
    from orchestrator.runs import state_of
    from workers.storage.layout import Storage
    from workers.storage.run import Run

    state = state_of(settings, Run.open(Storage(settings.storage), run))
    if as_json:
        print_json(state_to_dict(state, needed_flags(settings)))
    elif state.result is not None:
        print_result(state.result)
    elif state.plan is not None:
        plan, note = state.plan, describe_state(state, needed_flags(settings))
        click.echo(f"Run {plan.name} is {state.state}{note and f': {note}'}")
        click.echo(f"  images        {plan.images:,} in {plan.root}")
        click.echo(f"  batches       {state.batches_done:,} of {plan.batches:,} done")
        click.echo(f"  architecture  {plan.architecture}")


def state_to_dict(state: "RunState", flags: str) -> dict[str, Any]:
    """Return what ``--json`` prints of a run.

    Args:
        flags: See `describe_state`.
    """
    from orchestrator.driving.result import to_dict

    plan = state.plan
    return {
        "run": state.name,
        "kind": plan.kind if plan else "label",
        "state": state.state,
        "note": "" if state.result else describe_state(state, flags),
        "created": plan.created if plan else "",
        "folder": plan.root if plan else "",
        "images": plan.images if plan else 0,
        "batches": plan.batches if plan else 0,
        "batches_done": state.batches_done,
        "architecture": plan.architecture if plan else "",
        "result": to_dict(state.result) if state.result else None,
    }
