"""From a folder, or the images of a run, to the result: training and labelling."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.dataset.dataset import Dataset, Source, open_dataset
from orchestrator.dataset.scan import check_folder, stream_folder
from orchestrator.dataset.split import check_shares
from orchestrator.driving.broker import open_broker
from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.driving.driver import WatchInterrupt, drive_run
from orchestrator.driving.output_formats import check_output
from orchestrator.driving.result import Result, timed
from orchestrator.driving.unreachable import most_failed
from orchestrator.embedded.users import keep_stack, use_broker, why_stopped
from orchestrator.models import LATEST, Choice, choose_model
from orchestrator.planning.plan import check_name, plan_again, plan_labelling, plan_training
from orchestrator.planning.weights import resolve_backbone
from orchestrator.progress import OnProgress
from workers.backbones.table import find_spec
from workers.errors import LabellingJobError, NoCoordinatorError, SettingsError
from workers.heads.model_backbone import install_backbone
from workers.heads.model_folder import read_head
from workers.settings import Settings
from workers.storage.atomic import write_whole
from workers.storage.layout import Storage
from workers.storage.making import make_storage, use_storage
from workers.storage.plan import MAX_FAILED, LabellingOptions, Run, TrainingOptions


@dataclass(frozen=True)
class TrainingRequest:
    """A data set to train on.

    Attributes:
        name: Of the run; None for one made from the folder's name.
        weights: A file, "random-SEED", or None to look for pretrained ones.
        batch_size: Images per task, or None for a size that suits the data set.
    """

    source: Source
    architecture: str
    options: TrainingOptions
    name: str | None = None
    weights: str | None = None
    batch_size: int | None = None
    detach: bool = False


@dataclass(frozen=True)
class LabellingRequest:
    """A folder to label.

    Attributes:
        model: A run, a path, or "latest"; None for the model that the settings name, or the latest.
    """

    folder: Path
    model: str | None
    output: Path
    format: str
    top_k: int
    overwrite: bool
    name: str | None = None
    batch_size: int | None = None
    detach: bool = False
    follows_links: bool = False


def plan_submission(
    settings: Settings,
    request: TrainingRequest,
    on_progress: OnProgress,
    on_dataset: Callable[[Dataset], None] = lambda _: None,
) -> Run:
    """Check all that can be checked before any work, and write the plan; on an error, nothing.

    Args:
        on_dataset: Called with the data set before anything else is done with it.
    """
    # A command that is mistyped makes no storage.
    check_folder(request.source.folder)
    _check_apart(settings, request.source.folder)
    storage = check_surroundings(settings, request.detach, request.name, makes_storage=True)
    # Before a scan that may take minutes.
    find_spec(request.architecture)
    check_shares(request.options)
    dataset = open_dataset(storage, request.source, request.options, on_progress)
    dataset.check_usable()
    on_dataset(dataset)
    # Only now, since it may download weights.
    backbone = resolve_backbone(settings, request.architecture, request.weights, on_progress)
    return plan_training(
        storage,
        dataset,
        backbone,
        request.options,
        name=request.name,
        batch_size=request.batch_size,
        max_failed=MAX_FAILED if settings.max_failed is None else settings.max_failed,
        on_progress=on_progress,
    )


def plan_classification(
    settings: Settings,
    request: LabellingRequest,
    on_progress: OnProgress,
    on_model: Callable[[Choice], None] = lambda _: None,
) -> Run:
    """Check all that can be checked before any work, and write the plan; on an error, nothing.

    Args:
        on_model: Called with the model before anything is labelled.
    """
    _check_apart(settings, request.folder)
    # Refuses a bad folder before anything else; finds the images later.
    scan = stream_folder(request.folder, on_progress, request.follows_links)
    check_output(request.output, request.overwrite)
    # Before a storage is made: an unmounted one has no model.
    choice = choose_model(
        Storage(settings.storage), request.model or settings.model or LATEST, scan.root
    )
    model, card = choice.model.folder, choice.model.card
    read_head(model, card)
    storage = check_surroundings(settings, request.detach, request.name, makes_storage=True)
    # Whoever names a model expects it.
    on_model(choice if request.model in (None, LATEST) else Choice(choice.model))
    return plan_labelling(
        storage,
        scan,
        install_backbone(storage, model, card),
        LabellingOptions(
            model=card.name,
            output=str(request.output.absolute()),
            format=request.format,
            top_k=min(request.top_k, len(card.labels)),
            overwrite=request.overwrite,
        ),
        model,
        name=request.name,
        batch_size=request.batch_size,
        max_failed=MAX_FAILED if settings.max_failed is None else settings.max_failed,
        on_progress=on_progress,
    )


def _check_apart(settings: Settings, folder: Path) -> None:
    """Refuse photographs in the storage itself: its folders would be labels.

    Raises:
        SettingsError: When they are one folder.
    """
    if folder.exists() and settings.storage.exists() and folder.samefile(settings.storage):
        raise SettingsError(
            f"{settings.storage} holds the photographs and cannot be the storage too. Choose "
            "another folder for the storage."
        )


def attend_run(
    settings: Settings,
    run: Run,
    started: float,
    on_progress: OnProgress,
    on_interrupt: Callable[[], None],
) -> Result:
    """Bring a run to its end, with an embedded stack if no broker is configured.

    Ctrl-C leaves the run where it is, marked so that nobody continues it before it is
    resumed (one that comes before or after the drive is for `leave_runs`); but a run that
    another process drives continues there.

    Args:
        started: When the command began, as ``time.monotonic`` tells it.
        on_interrupt: Called at Ctrl-C, before the wait for what is under way.

    Raises:
        PoetsError: When the run failed or cannot continue now.
        WatchInterrupt: At Ctrl-C while another process drives the run.
    """
    with use_broker(settings) as connected:
        broker = open_broker(connected)
        try:
            result = drive_run(run, broker, on_progress, lambda: why_stopped(settings))
        except KeyboardInterrupt as interrupt:
            if not isinstance(interrupt, WatchInterrupt):
                write_whole(run.folder.paused, b"")
                on_interrupt()
            raise
    # What this command took; result.json keeps the time since the plan was made.
    return timed(result, time.monotonic() - started)


def hand_over(settings: Settings, run: Run) -> None:
    """Let a run continue in the background; without a configured broker, start the stack."""
    write_whole(run.folder.detached, b"")
    if settings.broker_url is None:
        keep_stack(settings)


def check_surroundings(
    settings: Settings, detach: bool, name: str | None = None, *, makes_storage: bool = False
) -> Storage:
    """Return the storage, if a run of this name can be planned and driven here.

    Args:
        makes_storage: Whether a storage is made if there is none.

    Raises:
        PoetsError: When it cannot.
    """
    (make_storage if makes_storage else use_storage)(settings.storage)
    if settings.broker_url is not None:
        broker = open_broker(settings)
        if detach and not broker.client.exists(ALIVE_KEY):
            raise NoCoordinatorError("Nobody would drive a detached run.")
    storage = Storage(settings.storage)
    check_name(storage, name)
    return storage


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
    storage = check_surroundings(settings, detach, name)
    parent, training = open_training(storage, run)
    options = replace(training, **changes, evaluate_test=True)
    key = parent.plan.backbone
    return plan_again(
        parent,
        key,
        options,
        name=name,
        max_failed=most_failed(parent) if settings.max_failed is None else settings.max_failed,
        on_progress=on_progress,
    )


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
