"""The reports of a model, as files beside it: figures, mistakes, and what looks wrong."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workers.bottlenecks.gathering import Gathered
from workers.heads.evaluate import Evaluation, name_answer
from workers.heads.metrics import macro_averages, wilson_interval
from workers.heads.model_folder import ModelCard
from workers.heads.multi_label_guesses import SetGuesses
from workers.reports.findings import Findings

_GATHERED = {"validation": "validation", "test": "testing"}
_DIGITS = 6


def write_reports(
    card: ModelCard,
    gathered: Gathered,
    evaluations: dict[str, Evaluation],
    findings: Findings,
) -> dict[str, bytes]:
    """Return the content of each report by its file name."""
    figures = {
        "labels": card.labels,
        "temperature": card.training["temperature"],
        "near_duplicates_searched": findings.is_complete,
        **{split: _figures(card, evaluation) for split, evaluation in evaluations.items()},
    }
    mistakes = [
        (split, mistake.path, mistake.label, mistake.predicted, mistake.score)
        for split, evaluation in evaluations.items()
        for mistake in evaluation.mistakes
    ]
    suspects = [
        (one.image.path, one.image.split, one.image.label, one.suggested, one.score, one.reason)
        for one in findings.suspects
    ]
    duplicates = [
        (
            *(pair.image.path, pair.other.path),
            *(pair.image.split, pair.other.split),
            *(pair.image.label, pair.other.label),
            pair.similarity,
        )
        for pair in findings.duplicates
    ]
    return {
        "evaluation.json": json.dumps(figures, indent=2, allow_nan=False).encode(),
        "predictions.parquet": _predictions(card, gathered, evaluations),
        "quarantine.csv": _table("path reason", sorted(gathered.quarantine)),
        "mistakes.csv": _table("split path label predicted score", mistakes),
        "suspects.csv": _table("path split label suggested score reason", suspects),
        "duplicates.csv": _table(
            "path other split other_split label other_label similarity", duplicates
        ),
    }


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
    """Return how many images reach the threshold of their label, and how right they are."""
    is_right = [
        bool(right)
        for right, number, score in zip(*_best_labels(evaluation), strict=True)
        if not card.is_unsure(card.labels[number], round(float(score), _DIGITS))
    ]
    return {
        "images": len(is_right),
        "accuracy": sum(is_right) / len(is_right) if is_right else None,
        "accuracy_interval": wilson_interval(sum(is_right), len(is_right)),
    }


def _best_labels(
    evaluation: Evaluation,
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Return of the best label of each image whether it is right, its number and its score."""
    guesses = evaluation.guesses
    if isinstance(guesses, SetGuesses):
        rows, best = np.arange(len(guesses)), guesses.best
        return guesses.labels[rows, best], best, guesses.probabilities[rows, best]
    return guesses.is_right, guesses.predicted, guesses.score


def _predictions(card: ModelCard, gathered: Gathered, evaluations: dict[str, Evaluation]) -> bytes:
    tables = []
    for split, evaluation in evaluations.items():
        guesses = evaluation.guesses
        columns = {
            "path": pa.array(gathered.examples[_GATHERED[split]].paths, pa.string()),
            "split": pa.array([split] * len(guesses), pa.string()),
            "label": _names(card, guesses.labels),
            "predicted": _names(card, guesses.predicted),
            "score": guesses.score.round(_DIGITS),
            "label_score": guesses.label_score.round(_DIGITS),
            "margin": guesses.margin.round(_DIGITS),
        }
        tables.append(pa.table(columns))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
    return bytes(sink.getvalue())


def _names(card: ModelCard, answers: NDArray[Any]) -> pa.Array:
    if answers.ndim == 1:
        return pa.array(card.labels, pa.string()).take(pa.array(answers))
    return pa.array([name_answer(row, card.labels) for row in answers], pa.string())


class _Lines(io.StringIO):
    """Takes the rows of a `csv.writer` that ends them with CR LF; they end with LF here."""

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def _table(columns: str, rows: Iterable[tuple[str | float, ...]]) -> bytes:
    text = _Lines(newline="")
    # What ends a row is quoted in a name; readers take a bare CR for an end, too.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns.split())
    writer.writerows(rows)
    return text.getvalue().encode()
