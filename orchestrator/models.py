"""Which model a command uses: the one that is named, or the one that a person would expect.

Nothing becomes the default by accident: "latest" is the run that somebody asked for last, and not
the one that finished last, and a folder that was labelled before keeps to models of the same
photographs.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workers.errors import (
    AmbiguousModelError,
    ModelError,
    NoModelError,
    NoModelYetError,
    RunError,
    UnknownModelError,
)
from workers.heads.model_folder import ModelCard, read_card
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import Plan, list_runs, read_plan

LATEST = "latest"


@dataclass(frozen=True)
class Trained:
    """A model, and the plan of the run that trained it; None where that is not known."""

    folder: Path
    card: ModelCard
    plan: Plan | None

    @property
    def photographs(self) -> tuple[str, bool] | None:
        """What it was trained on: the folder, and whether it has several labels an image."""
        training = self.plan and self.plan.training
        return (self.plan.root, training.multi_label) if self.plan and training else None


@dataclass(frozen=True)
class Choice:
    """The model that a command uses, and what a person may not expect of it.

    Attributes:
        before: The model of the last job on the folder, if that was another one.
        passed_over: A newer model, which was trained on other photographs than that one.
    """

    model: Trained
    before: ModelCard | None = None
    passed_over: Trained | None = None


def choose_model(storage: Storage, reference: str, folder: str | None = None) -> Choice:
    """Return the model that RUN, PATH or "latest" names, for a job on `folder`.

    Raises:
        ModelError: When there is none.
    """
    last = _last_job(storage, folder) if folder else None
    before = _model_of_job(storage, last) if last else None
    if reference != LATEST:
        model = _open(find_model(storage, reference))
        return Choice(model, _changed(before, model))
    newest, *others = _newest_first(storage)
    same = [one for one in (newest, *others) if before and _are_alike(before, one)]
    model = same[0] if same else newest
    return Choice(model, _changed(before, model), newest if model is not newest else None)


def find_model(storage: Storage, reference: str) -> Path:
    """Return the model folder that RUN, PATH or "latest" names.

    Raises:
        ModelError: When there is none, or a run and a folder have this name.
    """
    if reference == LATEST:
        return next(_newest_first(storage)).folder
    run = None if "/" in reference else storage.run(reference)
    found = _find_folder(Path(reference).expanduser())
    if run is None or not run.path.is_dir():
        if found is None:
            raise UnknownModelError(f"There is no run and no model folder {reference!r}.")
        return found
    if found and _identity(found) != _identity(run.model):
        raise AmbiguousModelError(f"{reference!r} is a run, and a model folder here.", run.path)
    if not run.model.is_dir():
        raise NoModelYetError(f"Run {reference!r} has no model yet.", reference)
    return run.model


def _find_folder(path: Path) -> Path | None:
    for folder in (path / "model", path):
        if (folder / "model.json").is_file():
            if folder != path and folder.is_symlink():
                raise ModelError(f"The folder {folder} is a link, which is not followed.")
            return folder
    return None


def _identity(folder: Path) -> tuple[str, str] | None:
    with contextlib.suppress(ModelError):
        card = read_card(folder)
        return card.name, card.created
    return None


def _newest_first(storage: Storage) -> Iterator[Trained]:
    """Yield the models that somebody has trained, that of the run that was asked for last first.

    Raises:
        NoModelError: When there is none.
    """
    plans = [
        (folder, plan)
        for folder in list_runs(storage.runs)
        if not _was_stopped(folder) and (plan := _read_plan(folder)) and _is_for_use(plan)
    ]
    plans.sort(key=lambda pair: (_time_of(pair[1].created), pair[0].name), reverse=True)
    none = True
    for folder, plan in plans:
        with contextlib.suppress(ModelError):  # of a newer poets, or damaged
            yield Trained(folder.model, read_card(folder.model), plan)
            none = False
    if none:
        raise NoModelError(f"There is no trained model in {storage.root}.")


def _was_stopped(folder: RunFolder) -> bool:
    """Whether a run was stopped or failed; without its result it may still have a model."""
    markers = (folder.cancelled, folder.paused, folder.failure)
    return not folder.result.exists() and any(marker.exists() for marker in markers)


def _is_for_use(plan: Plan) -> bool:
    """Whether somebody has chosen the model; nobody has that of a trial of a sweep."""
    return plan.training is not None and plan.training.evaluate_test


def _last_job(storage: Storage, folder: str) -> RunFolder | None:
    """Return the last job that labelled a folder."""
    jobs = [
        (_time_of(plan.created), run.name, run)
        for run in list_runs(storage.runs)
        if (plan := _read_plan(run)) and plan.labelling and plan.root == folder
    ]
    return max(jobs)[2] if jobs else None


def _model_of_job(storage: Storage, job: RunFolder) -> Trained | None:
    """Return the model that a job used, from its own copy."""
    with contextlib.suppress(ModelError):
        card = read_card(job.model)
        plan = _read_plan(storage.run(card.name)) if _is_there(storage, card) else None
        return Trained(job.model, card, plan)
    return None


def _are_alike(before: Trained, now: Trained) -> bool:
    """Whether two models learnt the same photographs, or labels where those are not known."""
    if before.photographs is None:
        return set(before.card.labels) == set(now.card.labels)
    return before.photographs == now.photographs


def _is_there(storage: Storage, card: ModelCard) -> bool:
    """Whether the run that trained a model is still there, and not another one of its name."""
    return _identity(storage.run(card.name).model) == (card.name, card.created)


def _open(folder: Path) -> Trained:
    return Trained(folder, read_card(folder), _read_plan(RunFolder(folder.parent)))


def _changed(before: Trained | None, now: Trained) -> ModelCard | None:
    is_same = before and (before.card.name, before.card.created) == (
        now.card.name,
        now.card.created,
    )
    return before.card if before and not is_same else None


def _read_plan(folder: RunFolder) -> Plan | None:
    with contextlib.suppress(RunError):
        return read_plan(folder)
    return None


def _time_of(created: str) -> datetime:
    """Return when a plan was made; long ago if it does not say."""
    try:
        found = datetime.fromisoformat(created)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
