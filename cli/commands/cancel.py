"""``poets cancel``: give up a run."""

import click

from cli import options
from cli.console import print_json, say
from workers.settings import Settings, needed_flags


@click.command("cancel")
@click.argument("run", metavar="RUN")
@options.as_json
@options.quiet
@options.with_settings
def command(settings: Settings, run: str, as_json: bool, quiet: bool) -> None:
    """Cancel RUN.

    No more tasks are sent, and queued ones are skipped. What was computed is kept, and other
    runs use it.

    \b
    Example:
      poets cancel flower_photos-1
    """
    from orchestrator.runs import cancel_run
    from workers.storage.layout import Storage
    from workers.storage.run import Run

    cancel_run(Run.open(Storage(settings.storage), run))
    if as_json:
        print_json({"run": run, "state": "cancelled"})
    else:
        flags = needed_flags(settings)
        say(f"Run {run} is cancelled. `poets resume {run}{flags}` would take it up again.", quiet)
