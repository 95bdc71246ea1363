"""``poets completion``: completion for bash, zsh and fish."""

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from cli.options import debug_option

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@debug_option
def command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      eval "$(poets completion bash)"
    """
    root = click.get_current_context().find_root().command
    click.echo(_SHELLS[shell](root, {}, "poets", "_POETS_COMPLETE").source())
