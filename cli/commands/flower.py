"""``poets flower``: the Flower dashboard."""

import click

from cli import options
from cli.console import say
from workers.settings import Settings

_LOCAL = ("127.0.0.1", "localhost", "::1")


@click.command("flower")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5555,
    show_default=True,
    help="Port of the page.",
)
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--basic-auth",
    metavar="USER:PASSWORD",
    envvar="POETS_FLOWER_AUTH",
    help="Login for the page. [env POETS_FLOWER_AUTH]",
)
@options.with_settings
def command(settings: Settings, port: int, address: str, basic_auth: str | None) -> None:
    """Show workers and tasks in Flower, a web page.

    Runs until Ctrl-C. The page is read-only. Any address other than 127.0.0.1 requires
    --basic-auth; Flower's /metrics page stays open even then.

    \b
    Example:
      poets flower --port 5555
    """
    from orchestrator.dashboards.flower import check_port, run_flower
    from workers.storage.atomic import check_storage

    if address not in _LOCAL and not basic_auth:
        raise click.UsageError(
            f"Whoever reaches {address} could read everything. Give --basic-auth USER:PASSWORD, "
            "or leave out --address."
        )
    check_port(address, port)
    check_storage(settings.storage)
    say(f"Flower will be at http://{address}:{port}; Ctrl-C stops it.")
    code = run_flower(settings, address, port, basic_auth)
    if code:
        raise click.ClickException(f"Flower ended with exit code {code}; its last lines say why.")
