"""A sweep: one head for each point of a grid, the best by validation, and only then its test."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.driving.broker import Broker, open_broker
from orchestrator.driving.driver import TICK_S, drive_run
from orchestrator.driving.result import Result
from orchestrator.embedded.users import use_broker, why_stopped
from orchestrator.jobs.submit import check_surroundings, open_training
from orchestrator.planning.plan import free_name, plan_again
from orchestrator.planning.weights import resolve_backbone
from orchestrator.progress import OnProgress, Progress
from workers.backbones.store import read_description
from workers.backbones.table import BackboneKey, find_spec
from workers.errors import FailedSweepError, PoetsError, RefusedError, UsageError
from workers.heads.model_folder import read_card
from workers.settings import Settings
from workers.storage.atomic import write_whole
from workers.storage.layout import Storage
from workers.storage.plan import OF_SGD, Plan, Run, TrainingOptions

_MOST_TRIALS = 500
_MEASURES = ("validation_accuracy", "validation_accuracy_interval", "validation_log_loss")


# Runs at once.
_AT_ONCE = 16


@dataclass(frozen=True)
class _Trial:
    """One point of the grid: its backbone, and the options that differ from the run's."""

    number: int
    name: str
    backbone: BackboneKey
    options: TrainingOptions
    changes: Mapping[str, Any]


@dataclass
class _Driving:
    """Drives several runs at once, and shows them as one piece of work.

    Attributes:
        connected: Settings with a broker.
        settings: As the user gave them.
        total: Number of runs in all calls.
    """

    connected: Settings
    settings: Settings
    on_progress: OnProgress
    total: int
    _done: int = field(default=0, init=False)
    _latest: dict[str, Progress] = field(default_factory=dict, init=False)

    def drive(self, runs: Sequence[Run]) -> list[Result | PoetsError]:
        """Return the result of each run, or why it has none; one does not end the others.

        Ctrl-C stops all of them.
        """
        self._latest = {}
        broker = open_broker(self.connected, TICK_S)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = [pool.submit(self._drive_one, run, broker) for run in runs]
            try:
                while wait(futures, TICK_S).not_done:
                    self._report(futures)
            except KeyboardInterrupt:
                # Each driver checks for it, so none continues behind the user's back.
                for run in runs:
                    write_whole(run.folder.paused, b"")
                pool.shutdown(cancel_futures=True)
                raise
        self._done += len(runs)
        return [future.result() for future in futures]

    def _drive_one(self, run: Run, broker: Broker) -> Result | PoetsError:
        def on_progress(progress: Progress) -> None:
            self._latest[run.name] = progress

        try:
            return drive_run(run, broker, on_progress, lambda: why_stopped(self.settings))
        except PoetsError as error:
            return error

    def _report(self, futures: list["Future[Result | PoetsError]"]) -> None:
        done = self._done + sum(future.done() for future in futures)
        count = f"{done} of {self.total} heads"
        for progress in list(self._latest.values()):
            is_preparing = not progress.total
            if is_preparing or progress.done < progress.total:
                self.on_progress(replace(progress, note=progress.note or count))
                return
        self.on_progress(Progress("training", min(done, self.total), self.total, unit="heads"))


def sweep_run(
    settings: Settings,
    run: str,
    grid: Mapping[str, Sequence[Any]],
    name: str | None,
    on_progress: OnProgress,
) -> tuple[list[dict[str, Any]], Result]:
    """Train a head for each point of `grid` on the photographs of `run`.

    No trial sees the test split. The best by validation accuracy is trained once more,
    as run `name`, and that one is evaluated on the test split, so its figure is honest.

    Args:
        grid: Field of TrainingOptions, or "architecture", -> the values to try.
        name: None for RUN-sweep-1, RUN-sweep-2, ...

    Returns:
        The leader board, best first, and the result of the run that the best became.

    Raises:
        PoetsError: When there is nothing to sweep over, or no trial or the best run succeeded.
    """
    storage = check_surroundings(settings, detach=False, name=name)
    parent, training = open_training(storage, run)
    if not parent.plan.holds_out_validation:
        raise RefusedError(f"Run {run!r} holds out no validation images, which choose the best.")
    sweep = name or free_name(storage, f"{run}-sweep")
    called = _name_trials(storage, sweep)
    trials = _trials(settings, parent.plan, training, grid, called, on_progress)
    with use_broker(settings) as connected:
        driving = _Driving(connected, settings, on_progress, len(trials))
        board = _leader_board(parent, trials, driving, called)
        if "error" in board[0]:
            first = board[0]["error"]
            raise FailedSweepError(f"Every trial has failed. The first: {first}", run)
        best = trials[board[0]["trial"] - 1]
        final = plan_again(parent, best.backbone, best.options, name=sweep)
        [result] = driving.drive([final])
    if isinstance(result, PoetsError):
        raise result
    board[0]["test_accuracy"] = read_card(final.folder.model).metrics["test_accuracy"]
    content = json.dumps(board, indent=2, ensure_ascii=False) + "\n"
    write_whole(final.folder.path / "leaderboard.json", content.encode())
    return board, result


def _name_trials(storage: Storage, sweep: str) -> str:
    """Return what its trials are called but for their number: SWEEP, or SWEEP-2, ...

    A sweep that was stopped leaves trials, but no run with the name of the sweep.
    """
    names = itertools.chain([sweep], (f"{sweep}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not storage.run(f"{name}.001").path.exists())


def _trials(
    settings: Settings,
    plan: Plan,
    training: TrainingOptions,
    grid: Mapping[str, Sequence[Any]],
    called: str,
    on_progress: OnProgress,
) -> list[_Trial]:
    wanted = [find_spec(name).name for name in grid.get("architecture", [plan.architecture])]
    backbones = [
        plan.backbone
        if architecture == plan.architecture
        else resolve_backbone(settings, architecture, None, on_progress)
        for architecture in dict.fromkeys(wanted)
    ]
    points = list(_points({key: grid[key] for key in grid if key != "architecture"}))
    count = len(backbones) * len(points)
    if count > _MOST_TRIALS:
        raise UsageError(f"The grid has {count} points; a sweep has at most {_MOST_TRIALS}.")
    return [
        _Trial(number, f"{called}.{number:03d}", backbone, replace(training, **changes), changes)
        for number, (backbone, changes) in enumerate(itertools.product(backbones, points), 1)
    ]


def _points(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield the points of a grid; options that a solver ignores add none."""
    seen: list[dict[str, Any]] = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        if any(key in point for key in OF_SGD):
            point.setdefault("solver", "sgd")
        if point.get("solver") == "lbfgs":
            point = {key: value for key, value in point.items() if key not in OF_SGD}
        if point not in seen:
            seen.append(point)
            yield point


def _leader_board(
    parent: Run, trials: list[_Trial], driving: _Driving, called: str
) -> list[dict[str, Any]]:
    """Return one row for each trial, the best first."""
    rows = []
    for _, group in itertools.groupby(trials, key=lambda trial: trial.backbone):
        first, *others = group
        # The first computes the bottlenecks that are missing; the others find them.
        for part in ([first], others):
            runs = [
                plan_again(
                    parent,
                    trial.backbone,
                    replace(trial.options, evaluate_test=False),
                    name=trial.name,
                    sweep=called,
                )
                for trial in part
            ]
            results = driving.drive(runs)
            rows += [_row(*found) for found in zip(runs, part, results, strict=True)]
    return sorted(rows, key=_rank)


def _row(run: Run, trial: _Trial, result: Result | PoetsError) -> dict[str, Any]:
    architecture = trial.backbone.architecture
    row = {"trial": trial.number, "run": trial.name, "architecture": architecture, **trial.changes}
    if isinstance(result, PoetsError):
        return {**row, "error": str(result)}
    model = run.folder.model
    metrics = read_card(model).metrics
    sizes = [(model / file).stat().st_size for file in ("backbone.tflite", "head.npz")]
    speed = read_description(run.storage, trial.backbone.id).images_per_second
    return {
        **row,
        **{name: metrics[name] for name in _MEASURES},
        "size_bytes": sum(sizes),
        "images_per_second": speed,
    }


def _rank(row: dict[str, Any]) -> tuple[float, ...]:
    if "error" in row:
        return (1, row["trial"])
    return (0, -row["validation_accuracy"], row["validation_log_loss"], row["size_bytes"])
