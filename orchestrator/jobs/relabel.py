"""Correct labels of a run and train it again: no photograph is moved, and none is read.

A plan is immutable, so this is a new run, over the images and splits of the old one. Its
manifest has the right labels, whatever folder an image is in.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.dataset.corrections import Correction, Corrections, read_corrections
from orchestrator.dataset.scan import FoundImage
from orchestrator.dataset.split import TRAINING
from orchestrator.jobs.submit import check_surroundings, open_training
from orchestrator.planning.plan import plan_again, planned_images
from orchestrator.progress import OnProgress, ignore
from workers.errors import DatasetError
from workers.settings import Settings
from workers.storage.label_sets import split_labels
from workers.storage.names import encode_name
from workers.storage.plan import Run


@dataclass(frozen=True)
class Relabelling:
    """A planned run with corrected labels.

    Attributes:
        changed: Images whose label is another one now.
        unchanged: Rows that name the label that the image has already.
    """

    run: Run
    changed: int
    unchanged: int


def plan_relabelling(
    settings: Settings,
    run: str,
    corrections: Path,
    *,
    name: str | None,
    detach: bool,
    on_progress: OnProgress,
) -> Relabelling:
    """Plan a run with the images, splits and settings of another and some other labels.

    Args:
        corrections: A CSV file; see `read_corrections`.

    Raises:
        PoetsError: With what to do; nothing was started.
    """
    storage = check_surroundings(settings, detach, name)
    parent, training = open_training(storage, run)
    found = read_corrections(corrections, parent.plan.labels, training.multi_label)
    given = _find_images(parent, found)
    changed = _check_labels(parent, given, training.multi_label)
    if not changed:
        raise DatasetError(f"{corrections} changes no label of run {run!r}.")
    new = plan_again(
        parent,
        parent.plan.backbone,
        replace(training, evaluate_test=True),
        name=name,
        images=_relabelled(parent, given, on_progress),
        on_progress=on_progress,
    )
    return Relabelling(new, changed, len(given) - changed)


def _relabelled(
    run: Run, given: dict[str, Correction], on_progress: OnProgress
) -> Iterator[tuple[FoundImage, str | None]]:
    for image, split in planned_images(run, on_progress):
        right = given.get(image.path)
        yield (replace(image, label=right.label) if right else image), split


def _find_images(run: Run, found: Corrections) -> dict[str, Correction]:
    """Return the corrections by the path of their image in the run."""
    paths = {image.path for image, _ in planned_images(run, ignore)}
    given: dict[str, Correction] = {}
    for row in found.rows:
        # As poets writes a name, or as it is on the disk.
        path = row.path if row.path in paths else encode_name(row.path)
        if path not in paths:
            what = f"names {row.path!r}, which is no image of run {run.name!r}"
            raise found.malformed(row.line, what)
        if path in given:
            what = f"names {row.path!r}, which line {given[path].line} names too"
            raise found.malformed(row.line, what)
        given[path] = row
    return given


def _check_labels(run: Run, given: dict[str, Correction], is_multi_label: bool) -> int:
    """Return how many images get another label; refuse that a label loses its last one."""
    changed, left = 0, Counter[str]()
    for image, split in planned_images(run, ignore):
        row = given.get(image.path)
        label = row.label if row else image.label or ""
        changed += label != image.label
        if split == TRAINING:
            left.update(split_labels(label) if is_multi_label else [label])
    gone = [label for label in run.plan.labels if not left[label]]
    if gone:
        raise DatasetError(
            f"No training image would have the label {gone[0]!r} any more. Leave some with it, or "
            "train on a folder without it."
        )
    return changed
