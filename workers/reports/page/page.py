"""The page itself: the reports of a model as one HTML file that needs nothing else."""

import base64
import hashlib
import json
import math
import os
import string
import urllib.parse
from collections.abc import Mapping
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from workers.errors import RunError
from workers.heads.head import SIGMOID
from workers.heads.model_folder import ModelCard, read_card
from workers.processes.heartbeat import Heartbeat
from workers.reports.page.photographs import (
    Listing,
    Photograph,
    list_photographs,
    number_or_none,
    read_rows,
)
from workers.reports.page.thumbnails import make_thumbnails
from workers.storage.atomic import create_once, storage_errors
from workers.storage.layout import RunFolder
from workers.storage.names import decode_name
from workers.storage.plan import OF_SGD, Plan, read_plan

_SOURCES = (
    "evaluation.json",
    "predictions.parquet",
    "mistakes.csv",
    "suspects.csv",
    "duplicates.csv",
    "curve.csv",
    "quarantine.csv",
)
# In this order they are one program.
_SCRIPTS = ("elements.js", "photographs.js", "matrix.js", "charts.js", "figures.js", "page.js")
_MOST_UNREADABLE = 200
_MOST_STEPS = 400


def make_report(
    folder: RunFolder,
    plan: Plan,
    card: ModelCard,
    files: Mapping[str, bytes],
    heartbeat: Heartbeat,
) -> bytes:
    """Return the page of a run.

    Args:
        files: The other reports of the model, content by name; what is absent is left out
            of the page.
        heartbeat: Called now and then, to show that the work goes on.
    """
    listing = list_photographs(files)
    heartbeat()
    paths = [photograph.path for photograph in listing.photographs]
    thumbnails = make_thumbnails(folder, plan, paths, heartbeat)
    return _fill(card.name, _data(plan, card, files, listing, thumbnails))


def complete_report(folder: RunFolder) -> Path:
    """Return the path of a run's page, which is made if an older poets made the model.

    Raises:
        RunError: When there is no such run, or it trains no model.
        ModelError: When the run has no model yet, or it is damaged.
        StorageError: When the storage refuses.
    """
    plan = read_plan(folder)
    if plan.training is None:
        raise RunError(
            f"Run {plan.name!r} labels images and has no report. Give a run of submit-dataset."
        )
    path = folder.report
    if not path.exists():
        card = read_card(folder.model)
        with storage_errors(f"read {folder.model}"):
            present = [name for name in _SOURCES if (folder.model / name).exists()]
            files = {name: (folder.model / name).read_bytes() for name in present}
        create_once(path, make_report(folder, plan, card, files, lambda: None))
    return path


def _fill(title: str, data: dict[str, Any]) -> bytes:
    here = resources("workers.reports.page")
    style = here.joinpath("page.css").read_text("utf-8")
    script = "\n".join(here.joinpath(name).read_text("utf-8") for name in _SCRIPTS)
    # The browser runs these two texts and nothing else, whatever a file is called.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    template = string.Template(here.joinpath("page.html").read_text("utf-8"))
    return template.substitute(
        title=escape(title), policy=policy, style=style, script=script, data=_json(data)
    ).encode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(
    plan: Plan,
    card: ModelCard,
    files: Mapping[str, bytes],
    listing: Listing,
    thumbnails: list[bytes | None],
) -> dict[str, Any]:
    evaluation = json.loads(files.get("evaluation.json", b"{}"))
    unreadable = read_rows(files, "quarantine.csv")
    # What only the other solver heeds would mislead.
    unused = () if card.training.get("solver") == "sgd" else OF_SGD
    training = {name: value for name, value in card.training.items() if name not in unused}
    exceptions = training.pop("split_exceptions", {})
    seconds = training.pop("seconds", {})
    return {
        "run": card.name,
        "created": card.created,
        "planned": plan.created,
        "root": plan.root,
        "link": _link(decode_name(plan.root).rstrip("/") + "/"),
        "images": plan.images,
        "labels": evaluation.get("labels") or list(card.labels),
        "isMultiLabel": card.activation == SIGMOID,
        "splits": {split: evaluation.get(split) for split in ("test", "validation")},
        "temperature": evaluation.get("temperature"),
        "photographs": [_row(photograph) for photograph in listing.photographs],
        "thumbnails": [base64.b64encode(picture or b"").decode() for picture in thumbnails],
        "mistakes": listing.mistakes,
        "uncertain": listing.uncertain,
        "suspects": listing.suspects if "suspects.csv" in files else None,
        "duplicates": listing.duplicates if "duplicates.csv" in files else None,
        "isSearched": evaluation.get("near_duplicates_searched", True),
        "unreadable": [[r["path"], r["reason"]] for r in unreadable[:_MOST_UNREADABLE]],
        "curve": _curve(files),
        "counts": card.counts,
        "settings": {
            "architecture": card.architecture,
            "input size": " × ".join(str(n) for n in card.preprocessing["input_size"]),
            "bottleneck size": card.bottleneck_size,
            "weights (SHA-256)": card.weights,
            "backbone": card.backbone_id,
            **training,
            "names moved between splits": len(exceptions),
        },
        "seconds": seconds,
        "versions": card.versions,
    }


def _row(photograph: Photograph) -> list[Any]:
    path = photograph.path
    link = urllib.parse.quote_from_bytes(os.fsencode(decode_name(path)))
    return [
        path,
        photograph.split,
        photograph.label,
        photograph.predicted,
        photograph.score,
        photograph.label_score,
        photograph.margin,
        None if link == path else link,
    ]


def _link(path: str) -> str:
    return "file://" + urllib.parse.quote_from_bytes(os.fsencode(path))


def _curve(files: Mapping[str, bytes]) -> dict[str, list[float | None]]:
    rows = read_rows(files, "curve.csv")
    stride = max(1, math.ceil(len(rows) / _MOST_STEPS))
    kept = rows[::-stride][::-1]  # the last step is always there
    return {name: [number_or_none(row[name]) for row in kept] for name in (rows[0] if rows else ())}
