"""``poets fetch-weights``: pretrained weights ahead of time."""

import click

from cli import options
from cli.console import print_json, show_progress
from workers.settings import Settings


@click.command("fetch-weights")
@click.argument("architecture", metavar="ARCH")
@options.as_json
@options.quiet
@options.with_settings
def command(settings: Settings, architecture: str, as_json: bool, quiet: bool) -> None:
    """Copy the pretrained weights of ARCH into storage.

    They are searched for on this machine, and downloaded if they are not found.

    \b
    Example:
      poets fetch-weights inception_v3
    """
    from orchestrator.planning.weights import fetch_weights
    from workers.backbones.weights import digest_file
    from workers.storage.atomic import check_storage

    check_storage(settings.storage)
    with show_progress(quiet) as on_progress:
        path = fetch_weights(settings, architecture, on_progress)
    if as_json:
        sha256 = digest_file(path)
        print_json({"architecture": architecture, "sha256": sha256, "path": str(path)})
    else:
        click.echo(path)
