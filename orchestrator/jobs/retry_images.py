"""Try the images of a run again that failed.

A plan is immutable and a model is committed once, so this is a new run, over the images,
labels and splits of the old one. What is known comes from the cache, but never a failure:
another version may read what this one could not. Only the files that failed are read again.
"""

import contextlib
import os
import re
from dataclasses import replace
from pathlib import Path

from orchestrator.bad_images import find_bad_images
from orchestrator.dataset.scan import FoundImage
from orchestrator.driving.output_formats import check_output, merge_predictions
from orchestrator.driving.unreachable import most_failed
from orchestrator.jobs.submit import check_surroundings
from orchestrator.planning.plan import planned_images, write_plan
from orchestrator.progress import OnProgress
from workers.bottlenecks.batches import file_path
from workers.errors import DatasetError, RefusedError, ShardError, UnfinishedRunError
from workers.images.files import version_of
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.names import decode_name
from workers.storage.plan import LabellingOptions, Plan, Run


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
    parent = Run.open(Storage(settings.storage), run)
    storage = check_surroundings(settings, detach, name)
    earlier = parent.plan
    if not (parent.folder.result.exists() or parent.folder.failure.exists()):
        raise UnfinishedRunError(f"Run {run!r} has not ended.", run)
    bad = {image.path for image in find_bad_images(parent)}
    if not bad:
        return None
    if not os.path.isdir(decode_name(earlier.root)):
        raise DatasetError(f"The folder {earlier.root} of the photographs is not there.")
    labelling = earlier.labelling and _take_output_over(parent, earlier.labelling)
    draft = replace(
        earlier,
        parent=earlier.name,
        labelling=labelling,
        retried=len(bad),
        sweep=None,
        max_failed=most_failed(parent) if settings.max_failed is None else settings.max_failed,
    )
    images = (
        (_refresh(earlier, image) if image.path in bad else image, split)
        for image, split in planned_images(parent, on_progress)
    )
    return write_plan(
        storage,
        draft,
        images,
        on_progress,
        name=name,
        # The retry of a retry is another one of the same run.
        base=re.sub(r"-retry-\d+$", "", earlier.name) + "-retry",
        model=parent.folder.model if labelling else None,
    )


def _refresh(plan: Plan, image: FoundImage) -> FoundImage:
    """Return an image as it is now; one that is gone as it was, so that it fails again."""
    with contextlib.suppress(OSError):
        found = os.lstat(file_path(plan, image.path))
        return replace(image, size=found.st_size, version=version_of(found))
    return image


def _take_output_over(run: Run, options: LabellingOptions) -> LabellingOptions:
    """Return options that replace the output of a job, if it is still what the job wrote.

    Raises:
        RefusedError, StorageError: When it is not, or cannot be written.
    """
    output = Path(options.output)
    check_output(output, overwrite=True)
    if output.exists():
        try:
            # Takes an output with exactly the content of the job for its own, and no other.
            merge_predictions(run, replace(options, overwrite=False), lambda: None)
        # A damaged batch: nobody can tell.
        except (RefusedError, ShardError) as error:
            raise RefusedError(
                f"{output} is not as job {run.name!r} has written it, and would be overwritten. "
                "Move it away, then try again."
            ) from error
    return replace(options, overwrite=True)
