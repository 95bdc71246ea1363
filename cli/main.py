"""Entry point of `poets`: a group whose commands are imported only when they are called."""

import importlib
from typing import Any

import click

from cli.options import DEBUG, debug_option
from workers.errors import PoetsError

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

# Command -> what `poets --help` says of it; the module has the same name.
SECTIONS: dict[str, dict[str, str]] = {
    "Main job": {
        "check": "Look for what would spoil a run, before any work.",
        "submit-dataset": "Turn a folder of label folders into a classifier.",
        "train": "Fit another head on the photographs of a run.",
        "sweep": "Try many settings at once and keep the best.",
        "classify-dir": "Label every image below a folder.",
        "classify": "Label a few images, here and now.",
        "export": "Write a model for other tools: TensorFlow, Keras, LiteRT, ONNX.",
        "retrain": "Train as the codelab's retrain.py does, by its command line.",
        "label-image": "Label one image with a frozen graph, as the codelab does.",
        "demo": "Draw a small data set and run the main job on it.",
    },
    "Runs": {
        "runs": "List the runs and how they stand.",
        "show": "Show one run.",
        "report": "Print where the page of a run's photographs is, or open it.",
        "resume": "Go on with a run that was stopped.",
        "cancel": "Cancel a run.",
        "quarantine": "List the images of a run that could not be read, and why.",
        "retry": "Try the images again that failed in a run.",
        "tensorboard": "Show learning curves and bottlenecks in a web page.",
    },
    "Servers": {
        "up": "Start the embedded stack and keep it up.",
        "down": "Stop the embedded stack.",
        "status": "Show broker, queues and workers.",
        "worker": "Run a worker on this machine.",
        "coordinator": "Drive detached runs on a shared broker.",
        "flower": "Start the Flower dashboard.",
    },
    "Set-up": {
        "architectures": "List the backbones there are.",
        "fetch-weights": "Bring pretrained weights into storage ahead of time.",
        "bench": "Measure how long your photographs take on this machine.",
        "doctor": "Check this installation; each line is ok or says what to do.",
        "completion": "Print the completion script of a shell.",
    },
}
_COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}


class _LazyGroup(click.Group):
    """`poets --help` takes 0.1 s because it imports no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        import difflib

        near = difflib.get_close_matches(args[0], _COMMANDS, n=1, cutoff=0.4)
        if args[0] not in _COMMANDS and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get(DEBUG):
                raise
            message, exit_code = _describe(error)
            click.echo(message, err=True)
            ctx.exit(exit_code)


def _describe(error: BaseException) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "Interrupted.", INTERRUPTED
    if isinstance(error, PoetsError):
        return f"Error: {error}", error.exit_code
    return f"Error: {type(error).__name__}: {error} (--debug shows where)", 1


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@debug_option
@click.version_option(package_name="poets", message="poets %(version)s")
def main() -> None:
    """Turn folders of photographs into a classifier, and label all others with it.

    \b
    Examples:
      poets submit-dataset flower_photos     a trained, evaluated, saved classifier
      poets classify-dir holiday_photos      labels.csv, one row for each image
    """


if __name__ == "__main__":
    main()
