"""``poets retry``: try the images again that failed in a run."""

import time

import click

from cli import options
from cli.attend import conduct
from cli.console import print_json, say, show_progress
from workers.settings import Settings


@click.command("retry")
@click.argument("run", metavar="RUN")
@click.option("--name", help="Name of the new run. [RUN-retry-1, RUN-retry-2, ...]")
@options.detach
@options.as_json
@options.quiet
@options.with_settings
def command(
    settings: Settings, run: str, name: str | None, detach: bool, as_json: bool, quiet: bool
) -> None:
    """Try the failed images of RUN again.

    Use it when files were repaired, or a mount is back. RUN stays as it is. A new run gets its
    images, labels, splits and settings; each image that failed is read again, whatever the
    reason was, and everything else comes from the cache. A training run gets a new model; a
    labelling job replaces its output.

    \b
    Examples:
      poets retry flower_photos-1
      poets retry holiday_photos-labels-1 --json
    """
    from orchestrator.jobs.retry import plan_retry

    started = time.monotonic()
    with show_progress(quiet) as on_progress:
        new = plan_retry(settings, run, name=name, detach=detach, on_progress=on_progress)
    if new is None:
        say(f"No image of run {run} has failed; there is nothing to try again.", quiet)
        if as_json:
            print_json({"run": run, "retried": 0})
        return
    say(f"Run {new.name}: the images of {run}, and those that failed tried again", quiet)
    conduct(settings, new, started, detach, as_json, quiet)
