"""``poets tensorboard``: learning curves, histograms and bottlenecks in a web page."""

from typing import TYPE_CHECKING

import click

from cli import options
from cli.console import say
from workers.settings import Settings

if TYPE_CHECKING:
    from workers.storage.plan import Run

_LOCAL = ("127.0.0.1", "localhost", "::1")


@click.command("tensorboard")
@click.argument("run", metavar="[RUN]", required=False)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=6006,
    show_default=True,
    help="Port of the page.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; of this machine only.",
)
@options.with_settings
def command(settings: Settings, run: str | None, port: int, address: str) -> None:
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
        _prepare_projector(Run.open(storage, run))
    say(f"TensorBoard will be at http://{address}:{port}; Ctrl-C stops it.")
    code = run_tensorboard(storage, run, address, port)
    if code:
        raise click.ClickException(
            f"TensorBoard ended with exit code {code}; its last lines say why."
        )


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
