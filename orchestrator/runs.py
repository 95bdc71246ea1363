"""What runs there are, how they stand, and the commands that change that."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.driving.done_batches import Stored
from orchestrator.driving.result import read_failure, read_result
from orchestrator.driving.who_drives import Drivers, describe_driving, find_drivers
from workers.errors import ModelError, PoetsError, RunError
from workers.heads.model_folder import read_card
from workers.settings import Settings, needed_flags
from workers.storage.atomic import storage_errors
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import Plan, list_runs, read_plan
from workers.storage.run import Run


@dataclass(frozen=True)
class RunState:
    """One run.

    Attributes:
        state: finished, failed, cancelled, running, stopped (by Ctrl-C, or because it could
            not go on), stalled (whoever drove it has died), unknown, or damaged.
        note: Why, and what to do.
    """

    plan: Plan
    state: str
    note: str = ""
    result: dict[str, Any] | None = None
    batches_done: int = 0

    @property
    def headline(self) -> str:
        """What `poets runs` says of it."""
        if self.result is None:
            return self.note
        if self.plan.labelling:
            unsure = self.result.get("unsure", 0)
            middle = f"{unsure} unsure, " if unsure else ""
            return f"{self.result['ok']} labelled, {middle}{self.result['failed']} failed"
        for split in ("test", "validation"):
            accuracy = self.result[f"{split}_accuracy"]
            if accuracy is not None:
                return f"{accuracy:.1%} {split} accuracy"
        return "nothing held out"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "run": self.plan.name,
            "kind": self.plan.kind,
            "state": self.state,
            "note": self.note,
            "created": self.plan.created,
            "folder": self.plan.root,
            "images": self.plan.images,
            "batches": self.plan.batches,
            "batches_done": self.batches_done,
            "architecture": self.plan.architecture,
            "result": self.result,
        }


def list_states(settings: Settings) -> list[RunState]:
    """Return every run of a storage, oldest first."""
    states = []
    # Asked once: a broker that is away takes seconds each time.
    drivers, flags = find_drivers(settings), needed_flags(settings)
    storage = Storage(settings.storage)
    for folder in list_runs(storage.runs):
        try:
            states.append(_state(Run(storage, folder, read_plan(folder)), drivers, flags))
        # One that cannot be looked at must not hide the others.
        except (PoetsError, OSError, ValueError) as error:
            unknown = Plan(
                name=folder.name,
                root="",
                created="",
                architecture="",
                backbone_id="",
                weights_digest="",
                images=0,
                batches=0,
                cached=0,
                batch_size=0,
            )
            states.append(RunState(unknown, "damaged", str(error)))
    return states


def state_of(settings: Settings, run: Run) -> RunState:
    """Return how one run stands, from storage and from who drives it."""
    return _state(run, find_drivers(settings), needed_flags(settings))


def _state(run: Run, drivers: Drivers | None, flags: str) -> RunState:
    folder, plan = run.folder, run.plan
    if folder.result.exists():
        result = read_result(folder)
        return RunState(plan, "finished", result=result, batches_done=plan.batches)
    done = len(Stored.read(run).done)
    if folder.cancelled.exists():
        note = f"`poets resume {plan.name}{flags}` takes it up again"
        return RunState(plan, "cancelled", note, batches_done=done)
    with storage_errors(f"read {folder.failure}"):
        failure = read_failure(folder)
    if failure is not None:
        return RunState(plan, "failed", failure, batches_done=done)
    state, note = describe_driving(drivers, folder, plan, _read_trouble(folder), flags)
    return RunState(plan, state, note, batches_done=done)


def cancel_run(run: Run) -> None:
    """Cancel a run: no further work is sent, and what is queued is skipped.

    Raises:
        RunError: When it has finished.
    """
    if run.folder.result.exists():
        raise RunError(f"Run {run.name!r} has finished; there is nothing to cancel.")
    run.folder.cancelled.touch()


def reopen_run(run: Run) -> dict[str, Any] | None:
    """Clear what keeps an unfinished run from going on; return the result of a finished one.

    A labelling job whose output was removed writes it again.
    """
    folder, plan = run.folder, run.plan
    if folder.result.exists():
        if not plan.labelling or Path(plan.labelling.output).exists():
            return read_result(folder)
        folder.result.unlink()
    for marker in (folder.cancelled, folder.paused, folder.failure, folder.trouble):
        marker.unlink(missing_ok=True)
    # A coordinator lists the runs again when their folder has changed, or else once a minute.
    with contextlib.suppress(OSError):
        os.utime(run.storage.runs)
    return None


def find_model(storage: Storage, reference: str) -> Path:
    """Return the model folder that RUN, PATH or "latest" names.

    Raises:
        ModelError: When there is none.
    """
    if reference == "latest":
        folders = [folder.model for folder in list_runs(storage.runs) if folder.model.exists()]
        # A labelling job keeps a copy of its model; only trained ones hold the backbone.
        folders = [folder for folder in folders if (folder / "backbone.tflite").exists()]
        cards = {}
        for folder in folders:
            with contextlib.suppress(ModelError):  # of a newer poets, or damaged
                cards[folder] = read_card(folder)
        # A trial of a sweep is no model that anybody has chosen.
        cards = {path: c for path, c in cards.items() if c.training.get("evaluate_test", True)}
        if not cards:
            raise ModelError(
                f"There is no trained model in {storage.root}. Make one with "
                "`poets submit-dataset DIR`, or give one with --model."
            )
        return max(cards, key=lambda folder: cards[folder].created)
    if "/" not in reference and (storage.runs / reference / "model").is_dir():
        return storage.run(reference).model
    path = Path(reference).expanduser()
    if (path / "model" / "model.json").is_file():
        return path / "model"
    if (path / "model.json").is_file():
        return path
    if "/" not in reference and (storage.runs / reference).is_dir():
        raise ModelError(f"Run {reference!r} has no model yet; see `poets show {reference}`.")
    raise ModelError(
        f"There is no run and no model folder {reference!r}. `poets runs` lists the runs."
    )


def _read_trouble(folder: RunFolder) -> str:
    try:
        return folder.trouble.read_text("utf-8", "replace").rstrip(".")
    except OSError:
        return ""
