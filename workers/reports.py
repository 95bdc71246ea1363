"""The reports of a model, as files beside it: figures, mistakes, and what could not be read."""

import csv
import io
import json
from collections.abc import Iterable

from workers.gathering import Gathered
from workers.heads.evaluate import Evaluation
from workers.storage.plan import Plan


def write_reports(
    plan: Plan, gathered: Gathered, evaluations: dict[str, Evaluation]
) -> dict[str, bytes]:
    """Return the content of each report by its file name."""
    figures = {
        split: {
            "images": evaluation.images,
            "accuracy": evaluation.accuracy,
            "log_loss": evaluation.log_loss,
            "confusion": evaluation.confusion.tolist(),
        }
        for split, evaluation in evaluations.items()
    }
    mistakes = [
        (split, mistake.path, mistake.label, mistake.predicted, mistake.score)
        for split, evaluation in evaluations.items()
        for mistake in evaluation.mistakes
    ]
    return {
        "evaluation.json": json.dumps({"labels": plan.labels, **figures}, indent=2).encode(),
        "quarantine.csv": _table(["path", "reason"], sorted(gathered.quarantine)),
        "mistakes.csv": _table(["split", "path", "label", "predicted", "score"], mistakes),
    }


def _table(header: list[str], rows: Iterable[tuple[str | float, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
