"""Entry point of `poets`."""

import importlib
import sys
from typing import Any, NoReturn

import click

from cli.advice import describe_error, describe_interrupt
from cli.console import say
from cli.help_pages import Context
from cli.interrupts import interruptible
from cli.options import DEBUG, debug_option
from cli.streams import robust_streams, use_utf8
from cli.styles import bad
from workers.errors import PoetsError
from workers.processes.surroundings import forget_foreign_settings

# What `poets --help` says of each command: the first line of its own help (a test compares
# them).
SECTIONS: dict[str, dict[str, str]] = {
    "Main job": {
        "check": "Look in DIR for anything that would spoil a run.",
        "submit-dataset": "Train a classifier on the photographs in DIR.",
        "train": "Train another head on the photographs of RUN.",
        "relabel": "Correct labels of RUN and train it again.",
        "sweep": "Try many settings on the photographs of RUN and keep the best.",
        "classify-dir": "Label every image below DIR.",
        "classify": "Label each IMAGE and print its best labels.",
        "export": "Export the model of RUN to TensorFlow, Keras, LiteRT and ONNX.",
        "retrain": "Train with the command line of the codelab's retrain.py.",
        "label-image": "Label one image with a frozen graph, as the codelab's label_image.py does.",
        "evaluate": "Print how often a graph or model is right on the photographs in DIR.",
        "demo": "Draw a small data set, train a classifier on it, and label a folder.",
    },
    "Runs": {
        "runs": "List the runs and their states, oldest first.",
        "show": "Show the state of RUN, and its result once it has finished.",
        "report": "Print the path of RUN's report, or open it.",
        "resume": "Continue RUN where it stopped.",
        "cancel": "Cancel RUN.",
        "quarantine": "List the images of RUN that could not be read, and why.",
        "retry": "Try the failed images of RUN again.",
        "delete": "Delete each RUN: its model, report and predictions.",
        "gc": "Find what no run needs in the storage, and delete it.",
        "tensorboard": "Show learning curves and bottlenecks in TensorBoard.",
    },
    "Servers": {
        "up": "Start Valkey, a worker and a coordinator in the background.",
        "down": "Stop what `poets up` started.",
        "status": "Show the broker, the queues and the workers.",
        "worker": "Run a worker on this machine.",
        "coordinator": "Keep detached runs going.",
        "flower": "Show workers and tasks in Flower, a web page.",
    },
    "Set-up": {
        "architectures": "List the pretrained networks (backbones).",
        "fetch-weights": "Copy the pretrained weights of ARCH into storage.",
        "bench": "Measure how long the images below DIR take on this machine.",
        "doctor": "Check this installation and say what to fix.",
        "completion": "Print the completion script for SHELL.",
    },
}
_COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}
# Modules of several commands; any other command is `command` in the module of its name.
_MODULES = {
    "again": ("train", "retry", "relabel", "sweep"),
    "cleaning": ("delete", "gc"),
    "codelab": ("retrain", "label-image"),
    "dashboards": ("flower", "tensorboard"),
    "runs": ("runs", "show", "resume", "cancel"),
    "servers": ("up", "down", "status", "worker", "coordinator"),
    "set_up": ("architectures", "fetch-weights", "doctor", "completion"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


class _LazyGroup(click.Group):
    """A group that imports a command only when it is called: `poets --help` takes 0.1 s."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        own = cmd_name.replace("-", "_")
        module = importlib.import_module(f"cli.commands.{_MODULE_OF.get(cmd_name, own)}")
        command: click.Command = getattr(module, own if cmd_name in _MODULE_OF else "command")
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.ClickException as error:
            _end_of_misuse(error)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        import difflib

        near = difflib.get_close_matches(args[0], _COMMANDS, n=1, cutoff=0.4)
        if args[0] not in _COMMANDS and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    context_class = Context

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        use_utf8()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        forget_foreign_settings()
        with robust_streams(), interruptible() as interrupted:
            try:
                return super().invoke(ctx)
            except click.ClickException as error:
                _end_of_misuse(error)
            except (click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise
            except KeyboardInterrupt as error:
                if ctx.meta.get(DEBUG):
                    _print_traceback(type(error), error, error.__traceback__)
                say(str(error) or describe_interrupt(ctx.meta))
                ctx.exit(interrupted())
            except Exception as error:
                if ctx.meta.get(DEBUG):
                    sys.excepthook = _print_traceback
                    raise
                message, exit_code = _describe(error, ctx)
                say([bad("Error: "), message])
                ctx.exit(exit_code)


def _end_of_misuse(error: click.ClickException) -> NoReturn:
    """Say what is wrong with the command line, and where the help is.

    Raises:
        Exit: With the exit code of the error.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    context = error.ctx if isinstance(error, click.UsageError) else None
    help_of = f" See `{context.command_path} --help`." if context else ""
    say([bad("Error: "), f"{error.format_message()}{help_of}"])
    raise click.exceptions.Exit(error.exit_code) from error


def _print_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    import traceback

    say(*"".join(traceback.format_exception(kind, error, trace)).split("\n"))


def _describe(error: Exception, ctx: click.Context) -> tuple[str, int]:
    if isinstance(error, PoetsError):
        return describe_error(error, ctx.meta), error.exit_code
    return f"{type(error).__name__}: {error} (--debug shows where)", 1


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@debug_option
@click.version_option(package_name="poets", message="poets %(version)s")
def main() -> None:
    """Train an image classifier on folders of photographs, and label other photographs.

    \b
    Examples:
      poets submit-dataset flower_photos     a trained, evaluated, saved classifier
      poets classify-dir holiday_photos      labels.csv, with one row for each image
    """


if __name__ == "__main__":
    main()
