"""Another head on the images of a run: what `poets train` and each trial of a sweep are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.jobs.submit import check_surroundings, check_target
from orchestrator.planning.plan import plan_again
from orchestrator.planning.run_names import check_name
from orchestrator.progress import OnProgress
from workers.backbones.table import BackboneChoice
from workers.errors import UsageError
from workers.settings import Settings
from workers.storage.layout import RunFolder
from workers.storage.plan import Plan, TrainingOptions, read_plan


def plan_retraining(
    settings: Settings,
    run: str,
    changes: Mapping[str, Any],
    *,
    name: str | None,
    detach: bool,
    on_progress: OnProgress,
) -> RunFolder:
    """Plan another head on the images of a run, with some options changed.

    Args:
        changes: Fields of TrainingOptions with their new values.

    Raises:
        PoetsError: With what to do; nothing was started.
    """
    storage = check_surroundings(settings, detach)
    check_name(settings, name)
    parent = storage.run(run)
    plan = training_plan(parent)
    options = replace(plan.training or TrainingOptions(), **changes, evaluate_test=True)
    check_target(options)
    own = backbone_of(plan)
    return plan_again(storage, parent, own, options, name=name, on_progress=on_progress)


def training_plan(folder: RunFolder) -> Plan:
    """Return the plan of a run that trains.

    Raises:
        UsageError: When it is a labelling job.
        RunError: When there is no such run.
    """
    plan = read_plan(folder)
    if plan.training is None:
        raise UsageError(
            f"{plan.name!r} is a labelling job. Give a run of `poets submit-dataset`; "
            "`poets runs` lists them."
        )
    return plan


def backbone_of(plan: Plan) -> BackboneChoice:
    """Return the backbone of a run."""
    return BackboneChoice(plan.architecture, plan.weights_digest, plan.backbone_id)
