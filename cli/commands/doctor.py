"""``poets doctor``: is everything there, and if not, what to do."""

import click

from cli import options
from cli.console import print_json
from workers.settings import Settings


@click.command("doctor")
@options.as_json
@options.with_settings
def command(settings: Settings, as_json: bool) -> None:
    """Check this installation and say what to fix.

    Checks versions, storage, broker, workers, weights and this machine. The exit code is 1 if
    something needs your attention.

    \b
    Example:
      poets doctor
    """
    from orchestrator.health import examine

    checks = list(examine(settings))
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        for check in checks:
            click.echo(f"{'ok ' if check.is_ok else 'FIX'}  {check.name:<9}  {check.text}")
    if not all(check.is_ok for check in checks):
        raise click.exceptions.Exit(1)
