"""The trainer: from the bottlenecks of a run to one committed model."""

import functools
import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np

from workers.backbones.store import read_description
from workers.bottlenecks.gathering import Gathered, gather_bottlenecks
from workers.bottlenecks.pooling import pool_photographs
from workers.errors import DatasetError
from workers.heads.evaluate import Evaluation, evaluate_head
from workers.heads.fit import Fit, fit_alike, fit_head
from workers.heads.head import Head
from workers.heads.learning_curve import Step, StepLog
from workers.heads.model_folder import ModelCard, Preprocessing, save_model
from workers.heads.out_of_fold import guess_out_of_fold
from workers.heads.promise import Promise, find_promise
from workers.heads.temperature import calibrate_head
from workers.processes.heartbeat import Heartbeat
from workers.reports.findings import NOTHING_EXAMINED, REPORTED, examine_images
from workers.reports.page.page import make_report
from workers.reports.results import collect_results, sure_figures, write_tables
from workers.reports.tensorboard_summaries import Summaries
from workers.storage.atomic import storage_errors
from workers.storage.plan import Plan, Run, TrainingOptions


def train_run(run: Run, heartbeat: Heartbeat, may_commit: Callable[[], None]) -> None:
    """Fit, evaluate and commit the model of a run; does nothing if there is one.

    Args:
        heartbeat: Called now and then, to show that work is going on.
        may_commit: Raises LeaseLostError when another worker has taken over.

    Raises:
        BottlenecksMissingError: Some batches must be done again; they are marked.
        DatasetError: Too few images could be read, or the solver diverged.
    """
    folder, plan = run.folder, run.plan
    if folder.model.exists():
        return
    options = plan.training or TrainingOptions()
    clock = _Clock()
    gathered = gather_bottlenecks(run, heartbeat)
    _check_labels(plan, gathered)
    if not options.evaluate_test:
        gathered.hide_test()
    clock.end("gathering")
    training, validation = gathered.examples["training"], gathered.examples["validation"]
    with Summaries(folder.summaries, plan.architecture, options, training, validation) as summaries:
        fit = _fit(run, options, gathered, summaries, heartbeat)
        clock.end("fitting")
        evaluations = {
            REPORTED[split]: evaluate_head(
                fit.head, gathered.examples[split], plan.labels, heartbeat
            )
            for split in ("validation", "testing")
        }
        summaries.finish(fit.head, evaluations)
    promise = _promise(plan, options, fit, gathered, heartbeat)
    findings = NOTHING_EXAMINED
    if options.evaluate_test:
        findings = examine_images(gathered.photographs(), plan.labels, fit, options, heartbeat)
    clock.end("evaluating")
    found = {"suspects": len(findings.suspects), "duplicates": len(findings.duplicates)}
    card = _card(run, fit, evaluations, {**gathered.counts, **found}, clock.seconds)
    if promise:
        thresholds: dict[str, float | None] = dict.fromkeys(plan.labels, promise.threshold)
        card = replace(card, promise=promise, thresholds=thresholds)
        sure = sure_figures(card, evaluations["test"])
        card = replace(card, metrics={**card.metrics, "test_sure": sure})
    results = collect_results(card, gathered, evaluations, findings, fit.curve)
    files = write_tables(results)
    if options.evaluate_test:
        files[folder.report.name] = make_report(run, card, results, heartbeat)
    may_commit()
    backbone = run.storage.backbone(plan.backbone_id) / "backbone.tflite"
    save_model(folder.model, card, fit.head, backbone, files)
    with storage_errors(f"remove {folder.checkpoint}"):
        folder.checkpoint.unlink(missing_ok=True)


class _Clock:
    """Seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, part: str) -> None:
        now = time.monotonic()
        self.seconds[part] = round(now - self._since, 3)
        self._since = now


def _fit(
    run: Run,
    options: TrainingOptions,
    gathered: Gathered,
    summaries: Summaries,
    heartbeat: Heartbeat,
) -> Fit:
    """Return the fit, with its temperature in the head."""
    training, validation = gathered.examples["training"], gathered.examples["validation"]
    with StepLog(run.folder.steps) as log:

        def on_step(step: Step, head: Head | None) -> None:
            log.add(step)
            summaries.add_step(step, head)

        fit = fit_head(
            training,
            validation,
            len(run.plan.labels),
            options,
            heartbeat,
            on_step,
            run.folder.checkpoint,
            run.folder.heads,
        )
    if not (np.isfinite(fit.head.weights).all() and np.isfinite(fit.head.bias).all()):
        raise DatasetError(
            "The solver diverged: its head holds numbers that are not finite. Train again "
            "with a lower learning rate, or with the solver lbfgs."
        )
    head, temperature = calibrate_head(fit.head, validation, heartbeat)
    return replace(fit, head=head, details={**fit.details, "temperature": temperature})


def _promise(
    plan: Plan, options: TrainingOptions, fit: Fit, gathered: Gathered, heartbeat: Heartbeat
) -> Promise | None:
    """Return what can be promised of the head; None when nothing was asked for."""
    if options.target_precision is None:
        return None
    fit_on = functools.partial(
        fit_alike, fit, n_labels=len(plan.labels), options=options, heartbeat=heartbeat
    )
    pool = pool_photographs(gathered, options.seed, heartbeat)
    unseen = guess_out_of_fold(pool, len(plan.labels), options.seed, fit_on, heartbeat)
    return find_promise(unseen.scores, unseen.is_right, options.target_precision)


def _check_labels(plan: Plan, gathered: Gathered) -> None:
    labels = gathered.examples["training"].labels
    present = set((labels if labels.ndim == 1 else np.nonzero(labels)[1]).tolist())
    missing = [label for number, label in enumerate(plan.labels) if number not in present]
    if missing:
        raise DatasetError(
            f"Label {missing[0]!r} has no training image left: of {plan.images} images "
            f"{gathered.counts['quarantined']} cannot be read, and {gathered.counts['left_out']} "
            "are copies of held-out ones. Add or repair images, then submit the folder again."
        )


def _card(
    run: Run,
    fit: Fit,
    evaluations: dict[str, Evaluation],
    counts: dict[str, int],
    seconds: dict[str, float],
) -> ModelCard:
    plan = run.plan
    backbone = read_description(run.storage, plan.backbone_id)
    shown = ("accuracy", "accuracy_interval", "log_loss", "mean_average_precision")
    metrics = {
        f"{split}_{name}": getattr(evaluation, name)
        for split, evaluation in evaluations.items()
        for name in shown
    }
    libraries = ("poets", "numpy", "scipy", "pillow", "ai-edge-litert")
    return ModelCard(
        name=plan.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        architecture=plan.architecture,
        backbone_id=plan.backbone_id,
        weights=plan.weights_digest,
        backbone_sha256=backbone.sha256,
        preprocessing=Preprocessing(
            input_size=backbone.input_size,
            mode=backbone.preprocessing,
            resize="bilinear (averaged first below a third), aspect ratio not kept",
        ),
        bottleneck_size=backbone.bottleneck_size,
        labels=plan.labels,
        counts=counts,
        metrics=metrics,
        training={**asdict(plan.training or TrainingOptions()), **fit.details, "seconds": seconds},
        activation=fit.head.activation,
        versions={name: importlib.metadata.version(name) for name in libraries},
    )
