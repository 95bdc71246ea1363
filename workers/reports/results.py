"""What a model gets right and wrong, as files beside it and read back from them."""

import csv
import io
import json
from dataclasses import asdict, astuple, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workers.bottlenecks.gathering import Gathered
from workers.errors import ModelError
from workers.heads.evaluate import Evaluation
from workers.heads.guesses import DIGITS, best_labels, name_answer
from workers.heads.learning_curve import Step, parse_step
from workers.heads.metrics import macro_averages, wilson_interval
from workers.heads.model_folder import ModelCard
from workers.reports.findings import REPORTED, Duplicate, Findings, Sighting, Suspect
from workers.storage.atomic import storage_errors
from workers.storage.csv_files import csv_bytes
from workers.storage.regular_files import CONTENT_BYTES, read_regular_file

CURVE_COLUMNS = (
    "step", "train_accuracy", "train_cross_entropy", "validation_accuracy",
    "validation_cross_entropy",
)  # fmt: skip
_SUSPECTS = ("path", "split", "label", "suggested", "score", "reason")
_DUPLICATES = ("path", "other", "split", "other_split", "label", "other_label", "similarity")


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
            **({"promise": card.promise.to_dict()} if card.promise else {}),
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
        "sure": sure_figures(card, evaluation) if card.thresholds is not None else None,
        "confusion": None if evaluation.confusion is None else evaluation.confusion.tolist(),
        "calibration_bins": [asdict(one) for one in evaluation.calibration_bins],
    }


def sure_figures(card: ModelCard, evaluation: Evaluation) -> dict[str, Any]:
    """Return how many images reach the threshold of their best label, and how often it is right."""
    is_right = [
        bool(right)
        for label, score, right in zip(*best_labels(evaluation.guesses), strict=True)
        if not card.is_unsure(card.labels[label], round(float(score), DIGITS))
    ]
    return {
        "images": len(is_right),
        "accuracy": sum(is_right) / len(is_right) if is_right else None,
        "accuracy_interval": wilson_interval(sum(is_right), len(is_right)),
    }


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


def write_tables(results: Results) -> dict[str, bytes]:
    """Return the content of each file by its name; the same results give the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(results.predictions, sink, compression="zstd")
    suspects = (
        (*astuple(one.image), one.suggested, one.score, one.reason)
        for one in results.findings.suspects
    )
    duplicates = (
        (one.path, other.path, one.split, other.split, one.label, other.label, pair.similarity)
        for pair in results.findings.duplicates
        for one, other in [(pair.image, pair.other)]
    )
    return {
        "evaluation.json": json.dumps(results.figures, indent=2, allow_nan=False).encode(),
        "predictions.parquet": bytes(sink.getvalue()),
        "mistakes.csv": _mistakes(results.predictions),
        "suspects.csv": csv_bytes(_SUSPECTS, suspects),
        "duplicates.csv": csv_bytes(_DUPLICATES, duplicates),
        "quarantine.csv": csv_bytes(("path", "reason"), results.quarantine),
        "curve.csv": csv_bytes(
            CURVE_COLUMNS, (astuple(step)[: len(CURVE_COLUMNS)] for step in results.curve)
        ),
    }


def _mistakes(predictions: pa.Table) -> bytes:
    """Return ``mistakes.csv``: split by split, the most confident first."""
    columns = ["split", "path", "label", "predicted", "score"]
    is_wrong = pc.field("label") != pc.field("predicted")
    rows = predictions.select(columns).filter(is_wrong).to_pylist()
    splits = list(dict.fromkeys(row["split"] for row in rows))
    rows.sort(key=lambda row: (splits.index(row["split"]), -row["score"]))
    return csv_bytes(columns, map(itemgetter(*columns), rows))


def read_tables(folder: Path) -> Results:
    """Return the results of a model from the files in its folder.

    Raises:
        ModelError: When a file is damaged.
    """
    with storage_errors(f"read {folder}"):
        content = read_regular_file(folder / "evaluation.json", CONTENT_BYTES)
        predictions = read_regular_file(folder / "predictions.parquet", CONTENT_BYTES)
        names = ("suspects", "duplicates", "quarantine", "curve")
        texts = {name: read_regular_file(folder / f"{name}.csv", CONTENT_BYTES) for name in names}
    try:
        rows = {
            name: list(csv.DictReader(io.StringIO(text.decode(), newline="")))
            for name, text in texts.items()
        }
        figures = json.loads(content)
        return Results(
            figures=figures,
            predictions=pq.read_table(io.BytesIO(predictions)),
            findings=Findings(
                [_suspect(row) for row in rows["suspects"]],
                [_duplicate(row) for row in rows["duplicates"]],
                figures["near_duplicates_searched"],
            ),
            quarantine=[(row["path"], row["reason"]) for row in rows["quarantine"]],
            curve=[parse_step(row) for row in rows["curve"]],
        )
    except (ValueError, KeyError, TypeError, csv.Error, pa.ArrowException) as error:
        raise ModelError(f"The reports of model {folder} are damaged: {error!r}.") from error


def _suspect(row: dict[str, str]) -> Suspect:
    image = Sighting(row["path"], row["split"], row["label"])
    return Suspect(image, row["suggested"], float(row["score"]), row["reason"])


def _duplicate(row: dict[str, str]) -> Duplicate:
    image = Sighting(row["path"], row["split"], row["label"])
    other = Sighting(row["other"], row["other_split"], row["other_label"])
    return Duplicate(image, other, float(row["similarity"]))
