"""Options that several commands share."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.advice import remember
from cli.console import Session
from cli.help_pages import command
from cli.percentages import Percentage
from workers.settings import DEFAULT_STORAGE, Settings, load_settings
from workers.storage.plan import MAX_FAILED

__all__ = ["command"]  # so that a command needs one import
DEBUG = "poets.debug"
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


class _Finite(click.types.FloatParamType):
    """A number; neither infinity, nor NaN, which no comparison of a range refuses."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class FiniteRange(click.FloatRange, _Finite):
    """A finite number in a range."""


class _Batch(click.IntRange):
    """A number of images, or -1 for all of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number == 0:
            self.fail("0 images say nothing. Give -1 for all of them.", param, ctx)
        return number


class _Folder(click.Path):
    """A folder of images. An empty name, as of an unset variable, would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty. Give a folder; '.' is the current one.", param, ctx)
        return super().convert(value, param, ctx)


BATCH = _Batch(-1)
FINITE = _Finite()
FOLDER = _Folder(path_type=Path)
debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_remember_debug,
    help="Show the traceback of an error.",
)
_STORAGE = click.option(
    "--storage", metavar="FOLDER", help="Folder for runs, models and bottlenecks. [~/.poets]"
)
_BROKER_URL = click.option(
    "--broker-url", metavar="URL", help="Redis or Valkey server. [poets starts its own]"
)
_WEIGHTS_DIR = click.option(
    "--weights-dir",
    metavar="FOLDER",
    help="Folder to search for pretrained weights, with its subfolders.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Show no progress, only the result.")
detach = click.option(
    "--detach", is_flag=True, help="Return at once; the run continues in the background."
)
multi_label = click.option(
    "--multi-label",
    "label_file",
    metavar="CSV",
    type=click.Path(path_type=Path),
    help="CSV file that lists the labels of each image; folder names are then ignored.",
)
splits = click.option(
    "--splits",
    type=click.Choice(["auto", "folders", "hash"]),
    default="auto",
    show_default=True,
    help="Take the splits from folders named train, val, test and the like, or choose them by file "
    "name (hash); auto: from folders if it is clear that they are splits.",
)
follow_links = click.option(
    "--follow-links",
    "follows_links",
    is_flag=True,
    help="Follow symbolic links to files and folders, also out of DIR; each file is used once.",
)
architecture = click.option(
    "--architecture",
    metavar="NAME",
    default="mobilenet_0.50_224",
    show_default=True,
    help="Pretrained network; `poets architectures` lists all.",
)
weights = click.option(
    "--weights",
    metavar="PATH",
    help="Keras weights file, or random-SEED for random weights. [found or downloaded]",
)
model = click.option(
    "--model",
    metavar="RUN|PATH|latest",
    help="A run, a model folder, or the newest model. [POETS_MODEL, or latest]",
)
batch_size = click.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Images per task. [chosen by the number of images]",
)
max_failed = click.option(
    "--max-failed",
    type=Percentage(),
    callback=lambda _, __, percent: None if percent is None else f"{percent}%",
    metavar="PERCENT",
    help="Stop with exit code 1 when no worker can open more of the images than this, or a whole "
    f"folder or label of them; 100% never stops. [{MAX_FAILED:.0%}]",
)


def with_settings(
    command: Callable[..., Any], default_storage: str | None = None
) -> Callable[..., Any]:
    """Add the flags of the settings to a command, and call it with `settings`.

    Raises:
        SettingsError: When a setting is malformed.
    """
    return _STORAGE(_BROKER_URL(with_weights_settings(command, default_storage)))


def with_weights_settings(
    command: Callable[..., Any], default_storage: str | None = None
) -> Callable[..., Any]:
    """Add ``--weights-dir`` alone: for a command that has its own storage and stack."""

    @functools.wraps(command)
    def call(**values: Any) -> Any:
        names = ("storage", "broker_url", "weights_dir", "device", "max_failed")
        flags = {name: values.pop(name, None) for name in names}
        default = str(values[default_storage]) if default_storage else DEFAULT_STORAGE
        settings = load_settings(flags, default_storage=default)
        remember(settings)
        return command(settings=settings, **values)

    return _WEIGHTS_DIR(debug_option(call))


def with_session(
    *, may_be_quiet: bool = True, may_detach: bool = False, default_storage: str | None = None
) -> _Decorator:
    """Add ``--json``, these flags and those of the settings; call the command with `session`.

    Args:
        default_storage: Option of the command that names the storage if no setting does.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(
            settings: Settings,
            as_json: bool,
            quiet: bool = False,
            detach: bool = False,
            **values: Any,
        ) -> Any:
            return command(session=Session(settings, as_json, quiet, detach), **values)

        decorated = with_settings(call, default_storage)
        if may_be_quiet:
            decorated = quiet(decorated)
        decorated = as_json(decorated)
        return detach(decorated) if may_detach else decorated

    return decorate
