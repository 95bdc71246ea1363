"""``poets quarantine``: the images of a run that could not be read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.console import print_json, print_table, say, show_progress
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.bad_images import BadImage
    from workers.storage.plan import Plan


@click.command("quarantine")
@click.argument("run", metavar="RUN")
@click.option(
    "--copy-to",
    "target",
    type=options.FOLDER,
    metavar="DIR",
    help="Also copy the files to DIR, with the list as quarantine.csv.",
)
@options.as_json
@options.quiet
@options.with_settings
def command(settings: Settings, run: str, target: Path | None, as_json: bool, quiet: bool) -> None:
    """List the images of RUN that could not be read, and why.

    RUN is a training run or a labelling job. If it has not finished, the list holds what is
    known so far.

    \b
    Examples:
      poets quarantine flower_photos-1
      poets quarantine flower_photos-1 --copy-to bad_photos
    """
    from orchestrator.bad_images import find_bad_images
    from orchestrator.image_copies import check_target
    from workers.storage.layout import Storage
    from workers.storage.run import Run

    opened = Run.open(Storage(settings.storage), run)
    plan = opened.plan
    if target is not None:
        check_target(plan, target)
    is_finished = opened.folder.result.exists()
    images = list(find_bad_images(opened))
    ends = _copy(plan, images, target, quiet) if target and images else None
    if as_json:
        facts = {"run": run, "is_finished": is_finished, "images": plan.images}
        print_json({**facts, "quarantined": _rows(plan, images, ends)})
    elif images:
        header = ("path", "label", "reason")
        print_table(header, [(one.path, one.label or "", one.reason) for one in images])
    _tell(plan, len(images), is_finished, needed_flags(settings), quiet)


def _copy(plan: "Plan", images: "list[BadImage]", target: Path, quiet: bool) -> list[str]:
    from orchestrator.image_copies import ALREADY_THERE, COPIED, LIST_NAME, copy_images

    with show_progress(quiet) as on_progress:
        ends = copy_images(plan, images, target, on_progress)
    copied, there = ends.count(COPIED), ends.count(ALREADY_THERE)
    say(f"{copied:,} of {len(ends):,} files copied; {target / LIST_NAME} lists all.", quiet)
    if there:
        say(f"{there:,} were there already and were not overwritten.", quiet)
    for image, end in zip(images, ends, strict=True):
        if end not in (COPIED, ALREADY_THERE):
            say(f"{image.path!r}: {end}", quiet)
    return ends


def _rows(plan: "Plan", images: "list[BadImage]", ends: list[str] | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "path": image.path,
            "absolute_path": f"{plan.root}/{image.path}",
            "label": image.label,
            "reason": image.reason,
        }
        for image in images
    ]
    for row, end in zip(rows, ends or (), strict=False):
        row["copy"] = end
    return rows


def _tell(plan: "Plan", count: int, is_finished: bool, flags: str, quiet: bool) -> None:
    so_far = "" if is_finished else " so far"
    if count:
        say(
            f"{count:,} of {plan.images:,} images of run {plan.name} are in quarantine{so_far}.",
            quiet,
        )
        if is_finished:
            say(f"When they are mended, `poets retry {plan.name}{flags}` tries them again.", quiet)
    else:
        say(f"No image of run {plan.name} is in quarantine{so_far}.", quiet)
