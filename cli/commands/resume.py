"""``poets resume``: continue a run that was stopped, cancelled, or failed."""

import time

import click

from cli import options
from cli.attend import conduct, show_result
from cli.codelab.files import follow, leave_files, read_flags
from cli.console import say
from workers.settings import Settings


@click.command("resume")
@click.argument("run", metavar="RUN")
@options.detach
@options.as_json
@options.quiet
@options.with_settings
def command(settings: Settings, run: str, detach: bool, as_json: bool, quiet: bool) -> None:
    """Continue RUN where it stopped.

    Finished work is not repeated. A run of `poets retrain` also writes the graph and the labels
    that were asked for.

    \b
    Example:
      poets resume flower_photos-1
    """
    from orchestrator.jobs.submit import check_surroundings
    from orchestrator.runs import reopen_run
    from workers.storage.run import Run

    started = time.monotonic()
    opened = Run.open(check_surroundings(settings, detach), run)
    result = reopen_run(opened)
    flags = read_flags(opened.folder)
    if flags and not detach:
        result = result or follow(settings, opened, started, quiet)
        leave_files(settings, opened, flags, result, as_json, quiet)
    elif result is None:
        conduct(settings, opened, started, detach, as_json, quiet)
    else:
        say(f"Run {run} has finished already.", quiet)
        show_result(result, as_json)
