"""The end of a run: its result, written once, with every image accounted for."""

import json
from datetime import UTC, datetime
from typing import Any

from orchestrator.driving.merge import merge_predictions
from workers.heads.model_folder import read_card
from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import create_once
from workers.storage.layout import RunFolder
from workers.storage.run import Run


def finish_run(run: Run, heartbeat: Heartbeat) -> dict[str, Any]:
    """Write ``result.json`` unless it is there, and return it.

    Args:
        heartbeat: Called now and then, to show that the work goes on.

    Raises:
        UsageError, StorageError: When the output of a labelling job cannot be written.
    """
    plan = run.plan
    seconds = (datetime.now(UTC) - datetime.fromisoformat(plan.created)).total_seconds()
    result = _labelled(run, heartbeat) if plan.labelling else _trained(run)
    result["seconds"] = round(seconds, 3)
    if plan.labelling:
        result["images_per_second"] = round(plan.images / max(seconds, 1e-3), 1)
    if plan.retried:
        bad = result["failed" if plan.labelling else "quarantined"]
        result |= {"retried": plan.retried, "repaired": max(0, plan.retried - bad)}
    create_once(
        run.folder.result, (json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode()
    )
    return result


def read_result(folder: RunFolder) -> dict[str, Any]:
    """Return the result of a finished run, with the places where its files are now."""
    result: dict[str, Any] = json.loads(folder.result.read_bytes())
    if "run" in result:  # of a storage that was moved
        result |= {"model": str(folder.model), "report": str(folder.report)}
    return result


def read_failure(folder: RunFolder) -> str | None:
    """Return why a run failed for good, or None.

    Raises:
        OSError: When the storage refuses, which is no failure of the run.
    """
    try:
        return str(json.loads(folder.failure.read_bytes())["reason"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return f"the reason in {folder.failure} cannot be read"


def _trained(run: Run) -> dict[str, Any]:
    folder, plan = run.folder, run.plan
    card = read_card(folder.model)
    counts = card.counts
    computed, cached, bad = (counts.get(n, 0) for n in ("computed", "cached", "quarantined"))
    return {
        "run": plan.name,
        "images": plan.images,
        "labels": list(plan.labels),
        "computed": computed,
        "cached": cached,
        "quarantined": bad,
        "lost": plan.images - computed - cached - bad,
        "training": counts.get("training", 0),
        "validation": counts.get("validation", 0),
        "testing": counts.get("testing", 0),
        "left_out": counts.get("left_out", 0),
        "variants": counts.get("variants", 0),
        "variants_computed": counts.get("variants_computed", 0),
        "validation_accuracy": card.metrics["validation_accuracy"],
        "test_accuracy": card.metrics["test_accuracy"],
        "test_accuracy_interval": card.metrics.get("test_accuracy_interval"),
        "mean_average_precision": card.metrics.get("test_mean_average_precision"),
        "suspects": counts.get("suspects", 0),
        "duplicates": counts.get("duplicates", 0),
        "report": str(folder.report),
        "model": str(folder.model),
    }


def _labelled(run: Run, heartbeat: Heartbeat) -> dict[str, Any]:
    plan, options = run.plan, run.plan.labelling
    if options is None:
        raise ValueError(f"{plan.name} is no labelling job")
    counts = merge_predictions(run, options, heartbeat)
    return {
        "job": plan.name,
        "images": plan.images,
        "ok": counts["ok"],
        "unsure": counts["unsure"],
        "failed": counts["failed"],
        "output": options.output,
        "model": options.model,
    }
