"""``poets resume``: go on with a run that was stopped, cancelled, or failed."""

import time

import click

from cli import options
from cli.attend import conduct, print_result
from cli.codelab.files import follow, leave_files, read_flags
from cli.console import print_json, say
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

    started = time.monotonic()
    storage = check_surroundings(settings, detach)
    result = reopen_run(storage, run)
    folder = storage.run(run)
    flags = read_flags(folder)
    if flags and not detach:
        result = result or follow(settings, folder, started, quiet)
        leave_files(settings, folder, flags, result, as_json, quiet)
    elif result is None:
        conduct(settings, run, started, detach, as_json, quiet)
    else:
        say(f"Run {run} has finished already.", quiet)
        print_json(result) if as_json else print_result(result)
