"""``poets architectures``, ``fetch-weights``, ``doctor`` and ``completion``: to set poets up."""

from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from cli import options
from cli.console import Session, echo, echo_path, print_json, print_table
from cli.styles import bad, good, strong

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@options.command("architectures")
@options.as_json
@options.debug_option
def architectures(as_json: bool) -> None:
    """List the pretrained networks (backbones).

    Prints their name, input size, bottleneck size, number of parameters and source.

    \b
    Example:
      poets architectures
    """
    from workers.backbones.table import BACKBONES

    if as_json:
        names = ("name", "input_size", "bottleneck_size", "parameters", "source", "weights_file")
        print_json([{name: getattr(spec, name) for name in names} for spec in BACKBONES.values()])
        return
    rows = []
    for spec in BACKBONES.values():
        height, width = spec.input_size
        pixels = f"{height}x{width}"
        rows.append((spec.name, pixels, spec.bottleneck_size, spec.parameters, spec.source))
    print_table(("name", "pixels", "bottleneck", "parameters", "source"), rows)


@options.command("fetch-weights")
@click.argument("architecture", metavar="ARCH")
@options.with_session()
def fetch_weights(session: Session, architecture: str) -> None:
    """Copy the pretrained weights of ARCH into storage.

    They are searched for on this machine, and downloaded if they are not found.

    \b
    Example:
      poets fetch-weights inception_v3
    """
    from orchestrator.planning import weights
    from workers.backbones.weights import digest_file
    from workers.storage.making import make_storage

    make_storage(session.settings.storage)
    with session.show_progress() as on_progress:
        path = weights.fetch_weights(session.settings, architecture, on_progress)
    if session.as_json:
        sha256 = digest_file(path)
        print_json({"architecture": architecture, "sha256": sha256, "path": str(path)})
    else:
        echo_path(path)


@options.command("doctor")
@click.option("--deep", is_flag=True, help="Also send a probe through every queue to every worker.")
@click.option(
    "--photographs",
    type=options.FOLDER,
    metavar="DIR",
    help="With --deep: see that every worker has the files below DIR.",
)
@options.with_session(may_be_quiet=False)
def doctor(session: Session, deep: bool, photographs: Path | None) -> None:
    """Check this installation and say what to fix.

    Tries what poets needs: versions, this machine, decoding and computing a drawn picture, the
    storage, the broker, workers and weights. The exit code is 1 if something needs your
    attention.

    \b
    Examples:
      poets doctor
      poets doctor --deep --photographs /mnt/photos/flowers
    """
    from orchestrator.health import examine

    if photographs and not deep:
        raise click.UsageError("--photographs needs --deep.")
    checks = list(examine(session.settings))
    if deep:
        from orchestrator.deep_health import examine_workers

        checks += examine_workers(session.settings, photographs)
    if session.as_json:
        print_json([vars(check) for check in checks])
    else:
        for check in checks:
            mark = good("ok ") if check.is_ok else bad("FIX")
            echo([mark, f"  {check.name:<9}  ", check.text if check.is_ok else strong(check.text)])
    if not all(check.is_ok for check in checks):
        raise click.exceptions.Exit(1)


@options.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@options.debug_option
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      eval "$(poets completion bash)"
    """
    root = click.get_current_context().find_root().command
    click.echo(_SHELLS[shell](root, {}, "poets", "_POETS_COMPLETE").source())
