"""A sweep: one head for each point of a grid, the best by validation, and only then its test."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.broker import Broker, open_broker
from orchestrator.drive import drive_runs
from orchestrator.embedded import has_stopped, use_broker
from orchestrator.jobs import check_surroundings, training_plan
from orchestrator.plan import BackboneChoice, check_name, next_name, plan_again
from orchestrator.progress import Progress
from orchestrator.weights import OnDownload, resolve_backbone
from workers.backbones.stored import read_description
from workers.errors import RunError, UsageError
from workers.heads.model import read_card
from workers.settings import Settings
from workers.storage.atomic import write_whole
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import TrainingOptions

_SGD_ONLY = ("steps", "learning_rate", "train_batch_size")
_MOST_TRIALS = 500


@dataclass(frozen=True)
class Trial:
    """One point of the grid: its backbone, and the options that differ from the run's."""

    backbone: BackboneChoice
    changes: Mapping[str, Any]


def sweep_run(
    settings: Settings,
    run: str,
    grid: Mapping[str, Sequence[Any]],
    name: str | None,
    on_progress: Callable[[Progress], None],
    on_download: OnDownload,
) -> dict[str, Any]:
    """Train a head for each point of `grid` on the photographs of `run`; return the leader board.

    No trial looks at the test split. The best by validation is trained once more, as run
    `name`, and that one is evaluated on the test split, so the figure is an honest one.

    Args:
        grid: Field of TrainingOptions, or "architecture", -> the values to try.

    Raises:
        PoetsError: With what to do.
    """
    storage = check_surroundings(settings, detach=False)
    check_name(storage, name)
    parent = storage.run(run)
    if not (training_plan(parent).training or TrainingOptions()).validation_percentage:
        raise UsageError(f"Run {run!r} holds no validation images that could choose the best.")
    trials = _trials(settings, parent, grid, on_download)
    sweep = name or next_name(storage, f"{run}-sweep")
    with use_broker(settings) as connected:
        driving = _Driving(settings, storage, open_broker(connected), on_progress, len(trials))
        board = _leader_board(storage, parent, sweep, trials, driving)
        if "error" in board[0]:
            raise RunError(f"Every trial has failed. The first: {board[0]['error']}")
        best = trials[board[0]["trial"] - 1]
        final = _plan(storage, parent, best, sweep, evaluate_test=True)
        result = driving.drive([final.name])[final.name]
    if isinstance(result, Exception):
        raise result
    board[0]["test_accuracy"] = result["test_accuracy"]
    content = json.dumps(board, indent=2, ensure_ascii=False).encode()
    write_whole(final.path / "leaderboard.json", content)
    return {"sweep": sweep, "trials": board, "best": result}


@dataclass
class _Driving:
    """What it takes to bring trials to their ends."""

    settings: Settings
    storage: Storage
    broker: Broker
    on_progress: Callable[[Progress], None]
    trials: int
    done: int = 0

    def drive(self, names: list[str]) -> dict[str, Any]:
        def show(name: str, progress: Progress) -> None:
            note = f"{name}, {self.done} of {self.trials} trials done"
            self.on_progress(replace(progress, note=progress.note or note))

        def count(_: str) -> None:
            self.done += 1

        return drive_runs(
            self.storage, self.broker, names, show, count, lambda: has_stopped(self.settings)
        )


def _trials(
    settings: Settings,
    parent: RunFolder,
    grid: Mapping[str, Sequence[Any]],
    on_download: OnDownload,
) -> list[Trial]:
    """Return the points of the grid; what a solver does not obey makes no further ones."""
    plan = training_plan(parent)
    own = BackboneChoice(plan.architecture, plan.weights_digest, plan.backbone_id)
    backbones = [own]
    if "architecture" in grid:
        backbones = [
            own
            if architecture == plan.architecture
            else _backbone(settings, architecture, on_download)
            for architecture in dict.fromkeys(grid["architecture"])
        ]
    points = list(_points({key: grid[key] for key in grid if key != "architecture"}))
    trials = [Trial(backbone, point) for backbone in backbones for point in points]
    if len(trials) > _MOST_TRIALS:
        raise UsageError(f"The grid has {len(trials)} points; the most are {_MOST_TRIALS}.")
    return trials


def _points(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    seen = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        if any(key in point for key in _SGD_ONLY):
            point.setdefault("solver", "sgd")
        if point.get("solver") == "lbfgs":
            point = {key: value for key, value in point.items() if key not in _SGD_ONLY}
        if point not in seen:
            seen.append(point)
            yield point


def _backbone(settings: Settings, architecture: str, on_download: OnDownload) -> BackboneChoice:
    spec, digest, backbone_id = resolve_backbone(settings, architecture, None, on_download)
    return BackboneChoice(spec.name, digest, backbone_id)


def _plan(
    storage: Storage, parent: RunFolder, trial: Trial, name: str, evaluate_test: bool
) -> RunFolder:
    training = training_plan(parent).training or TrainingOptions()
    options = replace(training, **trial.changes, evaluate_test=evaluate_test)
    return plan_again(storage, parent, trial.backbone, options, name=name)


def _leader_board(
    storage: Storage, parent: RunFolder, sweep: str, trials: list[Trial], driving: _Driving
) -> list[dict[str, Any]]:
    rows = []
    numbered = list(enumerate(trials, 1))
    for _, group in itertools.groupby(numbered, key=lambda entry: entry[1].backbone.backbone_id):
        first, *others = group
        # The first computes the bottlenecks that are missing; the others find them.
        for part in ([first], others):
            names = {number: f"{sweep}.{number:03d}" for number, _ in part}
            for number, trial in part:
                _plan(storage, parent, trial, names[number], evaluate_test=False)
            results = driving.drive(list(names.values()))
            for number, trial in part:
                result = results[names[number]]
                rows.append(_row(storage, number, trial, names[number], result))
    return sorted(rows, key=_rank)


def _row(storage: Storage, number: int, trial: Trial, name: str, result: Any) -> dict[str, Any]:
    row = {
        "trial": number,
        "run": name,
        "architecture": trial.backbone.architecture,
        **trial.changes,
    }
    if isinstance(result, Exception):
        return {**row, "error": str(result)}
    model = storage.run(name).model
    metrics = read_card(model).metrics
    sizes = [(model / file).stat().st_size for file in ("backbone.tflite", "head.npz")]
    return {
        **row,
        "validation_accuracy": metrics["validation_accuracy"],
        "validation_accuracy_interval": metrics["validation_accuracy_interval"],
        "validation_log_loss": metrics["validation_log_loss"],
        "size_bytes": sum(sizes),
        # Measured where the backbone was prepared, on one core.
        "images_per_second": read_description(storage, trial.backbone.backbone_id).get(
            "images_per_second"
        ),
    }


def _rank(row: dict[str, Any]) -> tuple[float, ...]:
    if "error" in row:
        return (1,)
    return (0, -row["validation_accuracy"], row["validation_log_loss"], row["size_bytes"])
