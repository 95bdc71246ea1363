"""``poets demo``: the main job on a data set that it draws itself."""

import functools
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options
from cli.advice import remember
from cli.attend import attend, print_result
from cli.console import Session, echo, print_json
from workers.settings import Settings

if TYPE_CHECKING:
    from orchestrator.driving.result import Result
    from workers.storage.plan import Run

_PICTURES, _HOLIDAY_PICTURES = 80, 12
# Without pretrained weights: small, and random weights are enough for such simple pictures.
_SMALL = ("mobilenet_v3_small", "random-0")


@options.command("demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("poets-demo"),
    show_default=True,
    help="Folder to keep everything in.",
)
@options.as_json
@options.quiet
@functools.partial(options.with_weights_settings, default_storage="folder")
def command(settings: Settings, folder: Path, as_json: bool, quiet: bool) -> None:
    """Draw a small data set, train a classifier on it, and label a folder.

    The data set is five made-up species of flowers. Everything is kept below one folder;
    delete it when you are done. A configured broker is not used.

    \b
    Example:
      poets demo
    """
    from orchestrator.driving.result import to_dict

    folder = folder.absolute()
    # The workers of a configured broker use another storage.
    settings = replace(settings, storage=folder / "storage", broker_url=None)
    remember(settings)
    session = Session(settings, quiet=quiet)
    pictures, holiday = folder / "flowers", folder / "holiday_photos"
    _draw(session, pictures, holiday)
    trained = _submit(session, pictures)
    run = to_dict(trained)["run"]
    labelled = _classify(session, run, holiday, folder / "labels.csv")
    results = {"trained": trained, "labelled": labelled}
    if as_json:
        print_json({name: to_dict(result) for name, result in results.items()})
        return
    for result in results.values():
        print_result(result, session.flags)
        echo()
    # `make demo` runs the program of its environment, which is not on the PATH.
    program = "poets" if shutil.which("poets") else sys.argv[0]
    echo(f"Everything is in {folder}. List the runs with:")
    echo(f"  {program} runs --storage {settings.storage}")
    echo("Now try your own photographs: poets submit-dataset DIR")


def _draw(session: Session, pictures: Path, holiday: Path) -> None:
    from cli.demo_flowers import SPECIES, draw_data_set
    from orchestrator.progress import Meter

    meter, drawn = Meter((_PICTURES + _HOLIDAY_PICTURES) * len(SPECIES)), 0
    with session.show_progress() as show:

        def heartbeat() -> None:
            nonlocal drawn
            drawn += 1
            show(meter.measure("drawing pictures", drawn, 0))

        draw_data_set(pictures, range(_PICTURES), heartbeat)
        draw_data_set(holiday, range(_PICTURES, _PICTURES + _HOLIDAY_PICTURES), heartbeat)


def _submit(session: Session, pictures: Path) -> "Result":
    from orchestrator.dataset.dataset import Source
    from orchestrator.jobs.submit import TrainingRequest, plan_submission
    from workers.storage.plan import TrainingOptions

    session = replace(session, started=time.monotonic())
    architecture, weights = _choose_backbone(session)
    request = TrainingRequest(Source(pictures), architecture, TrainingOptions(), weights=weights)
    return _carry_out(session, f"poets submit-dataset {pictures}", plan_submission, request)


def _choose_backbone(session: Session) -> tuple[str, str | None]:
    """Return an architecture, and None for the pretrained weights that are on this machine."""
    from workers.backbones.table import DEFAULT_ARCHITECTURE, find_spec
    from workers.backbones.weights import find_weights

    found = find_weights(find_spec(DEFAULT_ARCHITECTURE), session.settings.weights_dirs)
    if found:
        session.say(f"Backbone: {DEFAULT_ARCHITECTURE} with the pretrained weights {found}.")
        return DEFAULT_ARCHITECTURE, None
    session.say(
        f"No pretrained weights were found, so the backbone is {_SMALL[0]} with random weights: "
        "good enough for drawn flowers, not for photographs."
    )
    return _SMALL


def _classify(session: Session, run: str, holiday: Path, output: Path) -> "Result":
    from orchestrator.jobs.submit import LabellingRequest, plan_classification

    session = replace(session, started=time.monotonic())
    request = LabellingRequest(holiday, run, output, "csv", top_k=5, overwrite=True)
    return _carry_out(session, f"poets classify-dir {holiday}", plan_classification, request)


def _carry_out(
    session: Session, command: str, plan: "Callable[..., Run]", request: object
) -> "Result":
    with session.show_progress() as on_progress:
        run = plan(session.settings, request, on_progress)
    session.say(command)
    return attend(session, run)
