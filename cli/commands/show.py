"""``poets show``: one run."""

import click

from cli import options
from cli.attend import print_result
from cli.console import print_json
from workers.settings import Settings


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
        print_json(state.to_dict())
    elif state.result is not None:
        print_result(state.result)
    else:
        plan = state.plan
        note = f": {state.note}" if state.note else ""
        click.echo(f"Run {plan.name} is {state.state}{note}")
        click.echo(f"  images        {plan.images:,} in {plan.root}")
        click.echo(f"  batches       {state.batches_done:,} of {plan.batches:,} done")
        click.echo(f"  architecture  {plan.architecture}")
