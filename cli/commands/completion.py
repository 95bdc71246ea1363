"""``poets completion``: completion for bash, zsh and fish."""

import click
from click.shell_completion import get_completion_class

from cli.options import debug_option


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
def command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      eval "$(poets completion bash)"
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"No completion for {shell}.")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "poets", "_POETS_COMPLETE").source())
