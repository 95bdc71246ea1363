"""Plan another head on the images of a run, with some options changed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.jobs.submit import check_surroundings, check_target
from orchestrator.planning.plan import plan_again
from orchestrator.planning.run_names import check_name
from orchestrator.progress import OnProgress
from workers.errors import LabellingJobError
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.plan import TrainingOptions
from workers.storage.run import Run


def plan_retraining(
    settings: Settings,
    run: str,
    changes: Mapping[str, Any],
    *,
    name: str | None,
    detach: bool,
    on_progress: OnProgress,
) -> Run:
    """Plan another head on the images of a run, with some options changed.

    Args:
        changes: Fields of TrainingOptions with their new values.

    Raises:
        PoetsError: With what to do; nothing was started.
    """
    storage = check_surroundings(settings, detach)
    check_name(storage, name)
    parent, training = open_training(storage, run)
    options = replace(training, **changes, evaluate_test=True)
    check_target(options)
    key = parent.plan.backbone
    return plan_again(parent, key, options, name=name, on_progress=on_progress)


def open_training(storage: Storage, name: str) -> tuple[Run, TrainingOptions]:
    """Return a run that trains, and its options.

    Raises:
        LabellingJobError: When it is a labelling job.
        RunError: When there is no such run.
    """
    run = Run.open(storage, name)
    if run.plan.training is None:
        raise LabellingJobError(f"{run.name!r} is a labelling job.")
    return run, run.plan.training
