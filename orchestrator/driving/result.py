"""The end of a run: its result, written once, with every image accounted for."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.driving.output_formats import merge_predictions
from workers.errors import RunError
from workers.heads.model_folder import read_card
from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import create_once
from workers.storage.layout import RunFolder
from workers.storage.plan import LabellingOptions, Run
from workers.storage.regular_files import NotRegularError, read_regular_file

# Fields of a result that are counts of the model's card.
_COUNTED = (
    "computed", "cached", "quarantined", "training", "validation", "testing", "left_out",
    "variants", "variants_computed", "suspects", "duplicates",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """``result.json`` of a run that trained a head; docs/results.md explains each figure.

    Attributes:
        seconds: Since the plan was made; for a command that attended the run, its own.
        retried: Images that had failed in an earlier run and were tried again.
        repaired: Those of them that could be read this time.
        promise: What ``--target-precision`` came to (`Promise.to_dict`).
        test_sure: Of the sure test images ``images``, ``accuracy``, ``accuracy_interval``.
    """

    run: str
    images: int
    labels: tuple[str, ...]
    computed: int
    cached: int
    quarantined: int
    lost: int
    training: int
    validation: int
    testing: int
    left_out: int
    variants: int
    variants_computed: int
    validation_accuracy: float | None
    test_accuracy: float | None
    test_accuracy_interval: list[float] | None
    mean_average_precision: float | None
    suspects: int
    duplicates: int
    report: str
    model: str
    seconds: float = 0.0
    retried: int = 0
    repaired: int = 0
    promise: dict[str, Any] | None = None
    test_sure: dict[str, Any] | None = None

    @property
    def unreadable(self) -> int:
        return self.quarantined

    @property
    def accuracies(self) -> dict[str, float]:
        """Those that were measured, by split; the one that counts comes first."""
        found = {"test": self.test_accuracy, "validation": self.validation_accuracy}
        return {split: accuracy for split, accuracy in found.items() if accuracy is not None}


@dataclass(frozen=True, kw_only=True)
class LabellingResult:
    """``result.json`` of a job that labelled a folder; see `TrainingResult`."""

    job: str
    images: int
    ok: int
    unsure: int
    failed: int
    output: str
    model: str
    seconds: float = 0.0
    images_per_second: float = 0.0
    retried: int = 0
    repaired: int = 0

    @property
    def unreadable(self) -> int:
        return self.failed


Result = TrainingResult | LabellingResult


def to_dict(result: Result) -> dict[str, Any]:
    """Return what ``--json`` prints and ``result.json`` holds."""
    values = asdict(result)
    if not result.retried:
        del values["retried"], values["repaired"]
    if isinstance(result, TrainingResult) and result.promise is None:
        del values["promise"], values["test_sure"]
    return values


def finish_run(run: Run, heartbeat: Heartbeat) -> Result:
    """Write ``result.json`` unless it is there, and return it.

    Raises:
        RefusedError, StorageError: When the output of a labelling job cannot be written.
    """
    plan, options = run.plan, run.plan.labelling
    result: Result = _labelled(run, options, heartbeat) if options else _trained(run)
    since = datetime.now(UTC) - datetime.fromisoformat(plan.created)
    result = timed(result, since.total_seconds())
    if plan.retried:
        repaired = max(0, plan.retried - result.unreadable)
        result = replace(result, retried=plan.retried, repaired=repaired)
    text = json.dumps(to_dict(result), indent=2, ensure_ascii=False) + "\n"
    create_once(run.folder.result, text.encode())
    return result


def timed(result: Result, seconds: float) -> Result:
    """Return a result that took this long."""
    if isinstance(result, TrainingResult):
        return replace(result, seconds=round(seconds, 3))
    rate = round(result.images / max(seconds, 1e-3), 1)
    return replace(result, seconds=round(seconds, 3), images_per_second=rate)


def read_result(run: Run) -> Result:
    """Return the result of a finished run, with the paths of its files as they are now.

    Raises:
        RunError: When it is damaged.
    """
    try:
        content = read_regular_file(run.folder.result)
        if run.plan.labelling:
            return msgspec.json.decode(content, type=LabellingResult)
        result = msgspec.json.decode(content, type=TrainingResult)
    except (NotRegularError, ValueError, RecursionError) as error:
        raise RunError(f"The result {run.folder.result} is damaged: {error}.") from error
    # The storage may have been moved.
    return replace(result, model=str(run.folder.model), report=str(run.folder.report))


@dataclass(frozen=True)
class Failure:
    """``failed.json``: the reason, and the item that could not be done."""

    reason: str
    item: str = ""


def read_failure(folder: RunFolder) -> str | None:
    """Return why a run failed for good, or None.

    Raises:
        OSError: When the storage refuses, which is no failure of the run.
    """
    try:
        return msgspec.json.decode(read_regular_file(folder.failure), type=Failure).reason
    except FileNotFoundError:
        return None
    except (NotRegularError, ValueError, RecursionError):
        return f"the reason in {folder.failure} cannot be read"


def _trained(run: Run) -> TrainingResult:
    folder, plan = run.folder, run.plan
    card = read_card(folder.model)
    counts, metrics = card.counts, card.metrics
    accounted = counts["computed"] + counts["cached"] + counts["quarantined"]
    return TrainingResult(
        **{name: counts[name] for name in _COUNTED},
        run=plan.name,
        images=plan.images,
        labels=plan.labels,
        lost=plan.images - accounted,
        validation_accuracy=metrics["validation_accuracy"],
        test_accuracy=metrics["test_accuracy"],
        test_accuracy_interval=metrics["test_accuracy_interval"],
        mean_average_precision=metrics["test_mean_average_precision"],
        promise=card.promise.to_dict() if card.promise else None,
        test_sure=metrics.get("test_sure"),
        report=str(folder.report),
        model=str(folder.model),
    )


def _labelled(run: Run, options: LabellingOptions, heartbeat: Heartbeat) -> LabellingResult:
    counts = merge_predictions(run, options, heartbeat)
    return LabellingResult(
        job=run.plan.name,
        images=run.plan.images,
        ok=counts["ok"],
        unsure=counts["unsure"],
        failed=counts["failed"],
        output=options.output,
        model=options.model,
    )
