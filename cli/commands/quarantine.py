"""``poets quarantine``: the images of a run that could not be read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.console import Session, print_json, print_table

if TYPE_CHECKING:
    from orchestrator.bad_images import BadImage
    from workers.storage.plan import Plan


@options.command("quarantine")
@click.argument("run", metavar="RUN")
@click.option(
    "--copy-to",
    "target",
    type=options.FOLDER,
    metavar="DIR",
    help="Also copy the files to DIR, with the list as quarantine.csv.",
)
@options.with_session()
def command(session: Session, run: str, target: Path | None) -> None:
    """List the images of RUN that could not be read, and why.

    RUN is a training run or a labelling job. If it has not finished, the list holds what is
    known so far.

    \b
    Examples:
      poets quarantine flower_photos-1
      poets quarantine flower_photos-1 --copy-to bad_photos
    """
    from orchestrator.bad_images import check_target, find_bad_images
    from workers.storage.layout import Storage
    from workers.storage.plan import Run

    found = Run.open(Storage(session.settings.storage), run)
    plan = found.plan
    if target is not None:
        check_target(plan, target)
    is_finished = found.folder.result.exists()
    images = list(find_bad_images(found))
    outcomes = _copy(session, plan, images, target) if target and images else None
    if session.as_json:
        facts = {"run": run, "is_finished": is_finished, "images": plan.images}
        print_json({**facts, "quarantined": _rows(plan, images, outcomes)})
    elif images:
        header = ("path", "label", "reason")
        print_table(header, [(one.path, one.label or "", one.reason) for one in images])
    so_far = "" if is_finished else " so far"
    if not images:
        session.say(f"No image of run {run} is in quarantine{so_far}.")
        return
    total = f"{len(images):,} of {plan.images:,} images"
    session.say(f"{total} of run {run} are in quarantine{so_far}.")
    if is_finished:
        retry = f"poets retry {run}{session.flags}"
        session.say(f"Once they are repaired, `{retry}` tries them again.")


def _copy(session: Session, plan: "Plan", images: "list[BadImage]", target: Path) -> list[str]:
    from orchestrator.bad_images import ALREADY_THERE, COPIED, LIST_NAME, copy_images

    with session.show_progress() as on_progress:
        outcomes = copy_images(plan, images, target, on_progress)
    copied, there = outcomes.count(COPIED), outcomes.count(ALREADY_THERE)
    session.say(f"{copied:,} of {len(images):,} files copied; {target / LIST_NAME} lists all.")
    if there:
        session.say(f"{there:,} were there already and were not overwritten.")
    for image, outcome in zip(images, outcomes, strict=True):
        if outcome not in (COPIED, ALREADY_THERE):
            session.say(f"{image.path!r}: {outcome}")
    return outcomes


def _rows(
    plan: "Plan", images: "list[BadImage]", outcomes: list[str] | None
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "path": image.path,
            "absolute_path": f"{plan.root}/{image.path}",
            "label": image.label,
            "reason": image.reason,
        }
        for image in images
    ]
    for row, outcome in zip(rows, outcomes or (), strict=False):
        row["copy"] = outcome
    return rows
