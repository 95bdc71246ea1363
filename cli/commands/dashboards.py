"""``poets flower`` and ``poets tensorboard``: web pages that others draw."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.console import say
from workers.settings import Settings

if TYPE_CHECKING:
    from workers.storage.plan import Run

_LOCAL = ("127.0.0.1", "localhost", "::1")


def _listening(port: int, where: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind = click.IntRange(1, 65535)
    ports = click.option(
        "--port", type=kind, default=port, show_default=True, help="Port of the page."
    )
    addresses = click.option("--address", default="127.0.0.1", show_default=True, help=where)
    return lambda command: ports(addresses(command))


def _show(name: str, address: str, port: int, run: Callable[[], int]) -> None:
    say(f"{name} will be at http://{address}:{port}; Ctrl-C stops it.")
    code = run()
    if code:
        raise click.ClickException(f"{name} ended with exit code {code}; its last lines say why.")


@options.command("flower")
@_listening(5555, "Address to listen on.")
@click.option(
    "--basic-auth",
    metavar="USER:PASSWORD",
    envvar="POETS_FLOWER_AUTH",
    help="Login for the page. [env POETS_FLOWER_AUTH]",
)
@options.with_settings
def flower(settings: Settings, port: int, address: str, basic_auth: str | None) -> None:
    """Show workers and tasks in Flower, a web page.

    Runs until Ctrl-C. The page is read-only. Any address other than 127.0.0.1 requires
    --basic-auth; Flower's /metrics page stays open even then.

    \b
    Example:
      poets flower --port 5555
    """
    from orchestrator.dashboards.flower import check_port, run_flower

    if address not in _LOCAL and not basic_auth:
        raise click.UsageError(
            f"Whoever reaches {address} could read everything. Give --basic-auth USER:PASSWORD, "
            "or leave out --address."
        )
    check_port(address, port)
    _show("Flower", address, port, lambda: run_flower(settings, address, port, basic_auth))


@options.command("tensorboard")
@click.argument("run", metavar="[RUN]", required=False)
@_listening(6006, "Address to listen on; of this machine only.")
@options.with_settings
def tensorboard(settings: Settings, run: str | None, port: int, address: str) -> None:
    """Show learning curves and bottlenecks in TensorBoard.

    Runs until Ctrl-C, and follows runs while they train. Without RUN it shows all runs, and
    new ones as they come. With RUN it first prepares thumbnails for the embedding projector,
    once; later calls without RUN show them too.

    \b
    Examples:
      poets tensorboard
      poets tensorboard flower_photos-1 --port 6007
    """
    from orchestrator.dashboards.flower import check_port
    from orchestrator.dashboards.tensorboard import check_summaries, run_tensorboard
    from workers.storage.layout import Storage
    from workers.storage.making import use_storage
    from workers.storage.plan import Run

    if address not in _LOCAL:
        raise click.UsageError(
            f"Whoever reaches {address} could see the photographs, and TensorBoard has no "
            f"password. Leave out --address; from another machine, use "
            f"`ssh -L {port}:127.0.0.1:{port} HOST`."
        )
    storage = Storage(settings.storage)
    if run is not None:
        check_summaries(storage.run(run))
    check_port(address, port)
    if run is not None:
        use_storage(storage.root)
        _prepare_projector(Run.open(storage, run))
    _show("TensorBoard", address, port, lambda: run_tensorboard(storage, run, address, port))


def _prepare_projector(run: "Run") -> None:
    from workers.errors import StorageError
    from workers.reports.tensorboard_projector import has_projector, write_projector

    if has_projector(run.folder) or not run.folder.model.exists():
        return
    say("Preparing thumbnails for the projector, once for this run...")
    try:
        write_projector(run)
    except StorageError as error:
        say(f"The projector stays empty: {error}")
