"""The trainer: from the bottlenecks of a run to one committed model."""

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from workers.backbones.stored import read_description
from workers.errors import DatasetError
from workers.gathering import SPLITS, Gathered, gather_bottlenecks
from workers.heads.evaluate import Evaluation, evaluate_head
from workers.heads.fit import Fit, fit_head
from workers.heads.model import ModelCard, save_model
from workers.report.page import make_report
from workers.reports import write_reports
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import Plan, TrainingOptions


def train_run(
    storage: Storage,
    folder: RunFolder,
    plan: Plan,
    beat: Callable[[], None],
    may_commit: Callable[[], None],
) -> None:
    """Fit, evaluate and commit the model of a run; does nothing if there is one.

    Args:
        beat: Called now and then, to show that the work goes on.
        may_commit: Raises LeaseLostError when somebody else has taken over.

    Raises:
        BottlenecksMissingError: Some batches must be done again; they are marked.
        DatasetError: Too few images could be read.
    """
    if folder.model.exists():
        return
    options = plan.training or TrainingOptions()
    started = time.monotonic()
    gathered = gather_bottlenecks(storage, folder, plan, beat)
    _check_labels(plan, gathered)
    training, validation, testing = (gathered.examples[split] for split in SPLITS)
    gathered_at = time.monotonic()
    fit = fit_head(training, validation, len(plan.labels), options, beat)
    fitted_at = time.monotonic()
    evaluations = {
        "validation": evaluate_head(fit.head, validation, plan.labels, beat),
        "test": evaluate_head(fit.head, testing, plan.labels, beat),
    }
    reports = write_reports(plan, gathered, evaluations)
    seconds = {
        "gathering": round(gathered_at - started, 3),
        "fitting": round(fitted_at - gathered_at, 3),
        "evaluating": round(time.monotonic() - fitted_at, 3),
    }
    card = _card(storage, plan, gathered, fit, evaluations, seconds)
    reports[folder.report.name] = make_report(folder, plan, card, reports, beat)
    may_commit()
    backbone = storage.backbone(plan.backbone_id) / "backbone.tflite"
    save_model(folder.model, card, fit.head, backbone, reports)


def _check_labels(plan: Plan, gathered: Gathered) -> None:
    present = set(gathered.examples["training"].labels.tolist())
    missing = [label for number, label in enumerate(plan.labels) if number not in present]
    if missing:
        raise DatasetError(
            f"Label {missing[0]!r} has no training image left: of {plan.images} images "
            f"{gathered.counts['quarantined']} cannot be read, and {gathered.counts['left_out']} "
            "are copies of held-out ones. Add or repair images, then submit the folder again."
        )


def _card(
    storage: Storage,
    plan: Plan,
    gathered: Gathered,
    fit: Fit,
    evaluations: dict[str, Evaluation],
    seconds: dict[str, float],
) -> ModelCard:
    backbone = read_description(storage, plan.backbone_id)
    metrics: dict[str, float | None] = {}
    for split, evaluation in evaluations.items():
        metrics[f"{split}_accuracy"] = evaluation.accuracy
        metrics[f"{split}_log_loss"] = evaluation.log_loss
    libraries = ("poets", "numpy", "scipy", "pillow", "ai-edge-litert")
    return ModelCard(
        name=plan.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        architecture=plan.architecture,
        backbone_id=plan.backbone_id,
        weights=plan.weights_digest,
        backbone_sha256=backbone["sha256"],
        preprocessing={
            "input_size": backbone["input_size"],
            "mode": backbone["preprocessing"],
            "resize": "bilinear, aspect ratio not kept",
            "inside_backbone": True,
        },
        bottleneck_size=backbone["bottleneck_size"],
        labels=plan.labels,
        counts=dict(gathered.counts),
        metrics=metrics,
        training={**asdict(plan.training or TrainingOptions()), **fit.details, "seconds": seconds},
        versions={name: importlib.metadata.version(name) for name in libraries},
    )
