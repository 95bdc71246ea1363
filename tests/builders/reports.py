"""Results of a model, and its page, from predictions that a test makes up."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.builders.backbones import BACKBONE_ID
from workers.heads.learning_curve import Step
from workers.heads.model_folder import ModelCard, Preprocessing
from workers.processes.heartbeat import no_heartbeat
from workers.reports.findings import Duplicate, Findings, Sighting, Suspect
from workers.reports.page.page import make_report
from workers.reports.results import Results

COLUMNS = ("path", "split", "label", "predicted", "score", "label_score", "margin")


def make_prediction(path, split, label, predicted, score=0.9):
    """Return one row of ``predictions.parquet``."""
    label_score = score if label == predicted else (1 - score) / 2
    return path, split, label, predicted, score, label_score, score - (1 - score) / 2


def make_results(labels, predictions, suspects=(), duplicates=(), unreadable=(), steps=40):
    """Return results of these rows of the tables, with figures that agree with `predictions`."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in predictions]
    figures = {"labels": list(labels), "temperature": 1.03, "near_duplicates_searched": True}
    for split in ("validation", "test"):
        figures[split] = _figures(labels, [row for row in rows if row["split"] == split])
    return Results(
        figures,
        pa.Table.from_pylist(rows),
        Findings(
            [
                Suspect(Sighting(path, split, label), suggested, score, reason)
                for path, split, label, suggested, score, reason in suspects
            ],
            [
                Duplicate(
                    Sighting(path, split, label), Sighting(other, other_split, other_label), x
                )
                for path, other, split, other_split, label, other_label, x in duplicates
            ],
            is_complete=True,
        ),
        list(unreadable),
        [
            Step(step * 10, 1 - 0.7**step, 0.8**step, 0.9 - 0.9 * 0.7**step, 0.2 + 0.8**step)
            for step in range(steps)
        ],
    )


def _figures(labels, rows):
    numbering = {label: number for number, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), int)
    for row in rows:
        confusion[numbering[row["label"]], numbering[row["predicted"]]] += 1
    hits, support, named = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    accuracy = hits.sum() / len(rows) if rows else None
    return {
        "images": len(rows),
        "accuracy": accuracy,
        "accuracy_interval": [accuracy * 0.95, accuracy * 0.98 + 0.02] if rows else None,
        "top5_accuracy": None,
        "log_loss": 0.25,
        "calibration_error": 0.031,
        "macro": {"precision": accuracy, "recall": accuracy, "f1": accuracy},
        "per_label": [
            {
                "label": label,
                "precision": _ratio(hits[i], named[i]),
                "recall": _ratio(hits[i], support[i]),
                "f1": _ratio(2 * hits[i], support[i] + named[i]),
                "support": int(support[i]),
                "threshold": None,
            }
            for i, label in enumerate(labels)
        ],
        "confusion": confusion.tolist(),
        "calibration_bins": _bins(rows),
    }


def _ratio(part, whole):
    return float(part / whole) if whole else None


def _bins(rows):
    bins = []
    for low in np.arange(10) / 10:
        inside = [row for row in rows if low <= row["score"] < low + 0.1]
        right = sum(row["label"] == row["predicted"] for row in inside)
        bins.append(
            {
                "low": low,
                "high": low + 0.1,
                "count": len(inside),
                "mean_score": float(np.mean([row["score"] for row in inside])) if inside else None,
                "accuracy": right / len(inside) if inside else None,
            }
        )
    return bins


def card_of(plan):
    return ModelCard(
        name=plan.name,
        created="2026-01-02T03:04:05+00:00",
        architecture=plan.architecture,
        backbone_id=BACKBONE_ID,
        weights=plan.weights_digest,
        backbone_sha256="0" * 64,
        preprocessing=Preprocessing((128, 128), "tf"),
        bottleneck_size=256,
        labels=plan.labels,
        counts={"training": 20, "validation": 2, "testing": 2},
        metrics={},
        training={"solver": "lbfgs", "l2": 0.1, "seconds": {"fitting": 0.25}},
        versions={"poets": "0.1.0"},
    )


def write_page(run, results, target=None, labels=None):
    run = dataclasses.replace(
        run, plan=dataclasses.replace(run.plan, labels=labels or run.plan.labels)
    )
    path = target or run.folder.path / "page.html"
    path.write_bytes(make_report(run, card_of(run.plan), results, no_heartbeat))
    return path


def data_of(path):
    text = path.read_text("utf-8")
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    )


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
