"""What a model gets right and wrong: the one source of its tables and of its page."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workers.bottlenecks.gathering import Gathered
from workers.heads.evaluate import Evaluation
from workers.heads.guesses import DIGITS, SetGuesses, name_answer
from workers.heads.learning_curve import Step
from workers.heads.metrics import macro_averages, wilson_interval
from workers.heads.model_folder import ModelCard
from workers.reports.findings import REPORTED, Findings


@dataclass(frozen=True)
class Results:
    """What is known of a model once it is trained.

    Attributes:
        figures: The content of ``evaluation.json``.
        predictions: A row for each held-out image, with the columns of ``predictions.parquet``;
            scores are rounded.
        quarantine: Path and reason of each image that could not be read, sorted.
    """

    figures: dict[str, Any]
    predictions: pa.Table
    findings: Findings
    quarantine: list[tuple[str, str]]
    curve: list[Step]


def collect_results(
    card: ModelCard,
    gathered: Gathered,
    evaluations: dict[str, Evaluation],
    findings: Findings,
    curve: list[Step],
) -> Results:
    """Return the results of a model from its evaluations by split, as reports name splits."""
    paths = {REPORTED[split]: examples.paths for split, examples in gathered.examples.items()}
    predictions = [
        _predict(card, split, paths[split], evaluation) for split, evaluation in evaluations.items()
    ]
    return Results(
        figures={
            "labels": card.labels,
            "temperature": card.training["temperature"],
            "near_duplicates_searched": findings.is_complete,
            **{split: _figures(card, evaluation) for split, evaluation in evaluations.items()},
        },
        predictions=pa.concat_tables(predictions),
        findings=findings,
        quarantine=sorted(gathered.quarantine),
        curve=curve,
    )


def _figures(card: ModelCard, evaluation: Evaluation) -> dict[str, Any]:
    thresholds = card.thresholds or {}
    by_label = zip(card.labels, evaluation.by_label, strict=True)
    return {
        "images": evaluation.images,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": evaluation.accuracy_interval,
        "top5_accuracy": evaluation.top5_accuracy,
        "mean_average_precision": evaluation.mean_average_precision,
        "log_loss": evaluation.log_loss,
        "calibration_error": evaluation.calibration_error,
        "macro": macro_averages(evaluation.by_label),
        "per_label": [
            {"label": label, **asdict(figures), "threshold": thresholds.get(label)}
            for label, figures in by_label
        ],
        "sure": _sure(card, evaluation) if card.thresholds is not None else None,
        "confusion": None if evaluation.confusion is None else evaluation.confusion.tolist(),
        "calibration_bins": [asdict(one) for one in evaluation.calibration_bins],
    }


def _sure(card: ModelCard, evaluation: Evaluation) -> dict[str, Any]:
    """Return how many images reach the threshold of their best label, and how often it is right."""
    is_right = [
        bool(right)
        for label, score, right in zip(*_best_labels(evaluation), strict=True)
        if not card.is_unsure(card.labels[label], round(float(score), DIGITS))
    ]
    return {
        "images": len(is_right),
        "accuracy": sum(is_right) / len(is_right) if is_right else None,
        "accuracy_interval": wilson_interval(sum(is_right), len(is_right)),
    }


def _best_labels(
    evaluation: Evaluation,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the best label of each image: its index, its score, and whether it is right."""
    guesses = evaluation.guesses
    if isinstance(guesses, SetGuesses):
        rows, best = np.arange(len(guesses)), guesses.probabilities.argmax(axis=1)
        return best, guesses.probabilities[rows, best], guesses.labels[rows, best]
    return guesses.predicted, guesses.score, guesses.is_right


def _predict(card: ModelCard, split: str, paths: list[str], evaluation: Evaluation) -> pa.Table:
    guesses = evaluation.guesses
    columns = {
        "path": pa.array(paths, pa.string()),
        "split": pa.array([split] * len(guesses), pa.string()),
        "label": _names(card, guesses.labels),
        "predicted": _names(card, guesses.predicted),
        "score": guesses.score.round(DIGITS),
        "label_score": guesses.label_score.round(DIGITS),
        "margin": guesses.margin.round(DIGITS),
    }
    return pa.table(columns)


def _names(card: ModelCard, answers: NDArray[Any]) -> pa.Array:
    if answers.ndim == 1:
        return pa.array(card.labels, pa.string()).take(pa.array(answers))
    return pa.array([name_answer(row, card.labels) for row in answers], pa.string())
