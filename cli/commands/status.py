"""``poets status``: broker, queues, workers, and the runs under way."""

import click

from cli import options
from cli.console import print_json
from workers.settings import Settings


@click.command("status")
@options.as_json
@options.with_settings
def command(settings: Settings, as_json: bool) -> None:
    """Show the broker, the queues and the workers.

    \b
    Example:
      poets status
    """
    from orchestrator.health import describe_services

    facts = describe_services(settings)
    if as_json:
        print_json(facts)
        return
    if facts["broker"] is None:
        click.echo("No broker is up. Commands start their own; `poets up` keeps one up.")
        return
    click.echo(f"broker       {facts['broker']}")
    queues = ", ".join(f"{name} {length}" for name, length in facts["queues"].items())
    click.echo(f"queues       {queues}")
    click.echo(f"workers      {', '.join(facts['workers']) or 'none'}")
    click.echo(f"coordinator  {'up' if facts['coordinator'] else 'none'}")
    click.echo(f"running      {', '.join(facts['running']) or 'nothing'}")
