"""Try the images again that failed in a run: what `poets retry` is.

A plan is immutable and a model is committed once, so trying again is a run of its own, over
the images, labels and splits of the old one. What is known comes from the cache; a failure
never does, also one that lies in the content, since another poets may read what this one
could not. Only the files that failed are looked at anew.
"""

import contextlib
import filecmp
import os
import re
import uuid
from collections.abc import Iterator, Set
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.bad_images import find_bad_images
from orchestrator.dataset.scan import FoundImage
from orchestrator.driving.merge import check_output, merge_predictions
from orchestrator.jobs.submit import check_surroundings
from orchestrator.planning.plan import fill_manifest
from orchestrator.planning.run_names import check_name, claim_name, temporary_folder
from orchestrator.progress import OnProgress, Progress, counted
from workers.errors import DatasetError, ShardError, UnfinishedRunError, UsageError
from workers.heads.model_folder import copy_model
from workers.images.files import version_of
from workers.settings import Settings
from workers.storage.atomic import storage_errors
from workers.storage.layout import check_run_name
from workers.storage.manifest import read_batches
from workers.storage.names import decode_name
from workers.storage.plan import LabellingOptions, Plan
from workers.storage.run import Run


def plan_retry(
    settings: Settings, run: str, *, name: str | None, detach: bool, on_progress: OnProgress
) -> Run | None:
    """Plan a run in which the images that failed in `run` are tried again.

    Args:
        name: None for RUN-retry-1, RUN-retry-2, ...

    Returns:
        The new run; None when no image has failed.

    Raises:
        PoetsError: With what to do; nothing was started.
    """
    storage = check_surroundings(settings, detach)
    check_name(storage, name)
    parent = Run.open(storage, run)
    earlier = parent.plan
    if not (parent.folder.result.exists() or parent.folder.failure.exists()):
        raise UnfinishedRunError(f"Run {run!r} has not ended.", run)
    bad = {image.path for image in find_bad_images(parent)}
    if not bad:
        return None
    if not os.path.isdir(decode_name(earlier.root)):
        raise DatasetError(f"The folder {earlier.root} of the photographs is not there.")
    labelling = earlier.labelling and _take_output_over(parent, earlier.labelling)
    return _put_down(parent, bad, labelling, name, on_progress)


def _put_down(
    parent: Run,
    bad: Set[str],
    labelling: LabellingOptions | None,
    name: str | None,
    on_progress: OnProgress,
) -> Run:
    storage, earlier = parent.storage, parent.plan
    draft = replace(
        earlier,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        parent=earlier.name,
        labelling=labelling,
        retried=len(bad),
        sweep=None,
    )
    # The retry of a retry is another one of the same run.
    base = name or re.sub(r"-retry-\d+$", "", earlier.name) + "-retry"
    check_run_name(base)
    images = counted(
        _images(parent, bad),
        lambda n: on_progress(Progress("planning", n, earlier.images)),
    )
    with temporary_folder(storage) as temporary:
        if labelling:
            with storage_errors(f"write {storage.runs}"):
                copy_model(parent.folder.model, temporary / "model")
        plan = fill_manifest(storage, temporary, draft, images, on_progress)
        return claim_name(storage, temporary, plan, base, is_exact=name is not None)


def _images(parent: Run, bad: Set[str]) -> Iterator[tuple[FoundImage, str | None]]:
    for batch in read_batches(parent.folder):
        for row in batch.images:
            if not row.variant:
                found = FoundImage(row.path, row.size, row.version, row.label)
                yield _look_again(parent.plan, found) if row.path in bad else found, row.split


def _look_again(plan: Plan, image: FoundImage) -> FoundImage:
    """Return an image as it is now; one that is gone as it was, so that it fails again."""
    with contextlib.suppress(OSError):
        found = os.lstat(f"{decode_name(plan.root)}/{decode_name(image.path)}")
        return replace(image, size=found.st_size, version=version_of(found))
    return image


def _take_output_over(run: Run, options: LabellingOptions) -> LabellingOptions:
    """Return options that replace the output of a job, if it is still what the job wrote.

    Raises:
        UsageError, StorageError: When it is not, or cannot be written.
    """
    output = Path(options.output)
    check_output(output, overwrite=True)
    if output.exists() and not _is_as_written(run, options):
        raise UsageError(
            f"{output} is not as job {run.name!r} has written it, and would be overwritten. "
            "Move it away, then try again."
        )
    return replace(options, overwrite=True)


def _is_as_written(run: Run, options: LabellingOptions) -> bool:
    output = Path(options.output)
    copy = output.parent / f".{output.name}.{uuid.uuid4().hex}.tmp"
    try:
        merge_predictions(run, replace(options, output=str(copy)), lambda: None)
        return filecmp.cmp(copy, output, shallow=False)
    except ShardError:
        return False  # a batch of it is damaged: nobody can tell
    finally:
        copy.unlink(missing_ok=True)
