"""The results of a model as files beside it, and read back from them."""

import csv
import io
import json
from dataclasses import astuple
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workers.errors import ModelError
from workers.heads.learning_curve import parse_step
from workers.reports.findings import Duplicate, Findings, Sighting, Suspect
from workers.reports.results import Results
from workers.storage.atomic import storage_errors
from workers.storage.csv_files import csv_bytes

CURVE_COLUMNS = (
    "step", "train_accuracy", "train_cross_entropy", "validation_accuracy",
    "validation_cross_entropy",
)  # fmt: skip
_SUSPECTS = ("path", "split", "label", "suggested", "score", "reason")
_DUPLICATES = ("path", "other", "split", "other_split", "label", "other_label", "similarity")


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
        StorageError: When the storage refuses.
    """
    with storage_errors(f"read {folder}"):
        content = (folder / "evaluation.json").read_bytes()
        predictions = (folder / "predictions.parquet").read_bytes()
        names = ("suspects", "duplicates", "quarantine", "curve")
        texts = {name: (folder / f"{name}.csv").read_bytes() for name in names}
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
