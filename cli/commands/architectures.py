"""``poets architectures``: the table of backbones."""

import click

from cli.console import print_json, print_table
from cli.options import as_json as json_option
from cli.options import debug_option


@click.command("architectures")
@json_option
@debug_option
def command(as_json: bool) -> None:
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
    print_table(
        ("name", "pixels", "bottleneck", "parameters", "source"),
        [
            (
                spec.name,
                f"{spec.input_size[0]}x{spec.input_size[1]}",
                spec.bottleneck_size,
                spec.parameters,
                spec.source,
            )
            for spec in BACKBONES.values()
        ],
    )
