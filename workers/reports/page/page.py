"""The page itself: the results of a model as one HTML file that needs nothing else."""

import base64
import hashlib
import json
import math
import os
import string
import urllib.parse
from dataclasses import astuple
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from workers.errors import RunError
from workers.heads.head import SIGMOID
from workers.heads.learning_curve import Step
from workers.heads.model_folder import ModelCard, read_card
from workers.processes.heartbeat import Heartbeat, no_heartbeat
from workers.reports.page.photographs import Listing, Photograph, list_photographs
from workers.reports.page.thumbnails import make_thumbnails
from workers.reports.results import CURVE_COLUMNS, Results, read_tables
from workers.storage.atomic import create_once
from workers.storage.names import decode_name
from workers.storage.plan import OF_SGD, Plan, Run

# One program, in this order.
_SCRIPTS = (
    "elements.js",
    "corrections.js",
    "photographs.js",
    "matrix.js",
    "charts.js",
    "figures.js",
    "page.js",
)
_MOST_UNREADABLE = 200
_MOST_STEPS = 400


def make_report(run: Run, card: ModelCard, results: Results, heartbeat: Heartbeat) -> bytes:
    """Return the page of a run."""
    listing = list_photographs(results.predictions, results.findings)
    heartbeat()
    paths = [photograph.path for photograph in listing.photographs]
    thumbnails = make_thumbnails(run, paths, heartbeat)
    return _fill(card.name, _data(run.plan, card, results, listing, thumbnails))


def complete_report(run: Run) -> Path:
    """Return the path of a run's page; a trial of a sweep gets it now, when it is asked for.

    Raises:
        RunError: When the run trains no model.
        ModelError: When the run has no model yet, or it is damaged.
        StorageError: When the storage refuses.
    """
    if run.plan.training is None:
        raise RunError(
            f"Run {run.name!r} labels images, so it has no report. Give a run that trained."
        )
    path, model = run.folder.report, run.folder.model
    if not path.exists():
        card, results = read_card(model), read_tables(model)
        create_once(path, make_report(run, card, results, no_heartbeat))
    return path


def _fill(title: str, data: dict[str, Any]) -> bytes:
    here = resources("workers.reports.page")
    style = here.joinpath("page.css").read_text("utf-8")
    script = "\n".join(here.joinpath(name).read_text("utf-8") for name in _SCRIPTS)
    # The browser applies these two texts only, whatever a label or file is called. Pictures come
    # from the page itself, and enlarged from where the photographs were.
    policy = (
        f"default-src 'none'; img-src data: file:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    template = string.Template(here.joinpath("page.html").read_text("utf-8"))
    return template.substitute(
        title=escape(title), policy=policy, style=style, script=script, data=_json(data)
    ).encode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element around it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _data(
    plan: Plan,
    card: ModelCard,
    results: Results,
    listing: Listing,
    thumbnails: list[bytes | None],
) -> dict[str, Any]:
    figures = results.figures
    # Options that only the other solver uses would mislead.
    unused = () if card.training.get("solver") == "sgd" else OF_SGD
    training = {name: value for name, value in card.training.items() if name not in unused}
    exceptions = training.pop("split_exceptions", {})
    # What was not asked for says nothing; 0 % held out does.
    training = {
        name: value
        for name, value in training.items()
        if value or name in ("seed", "testing_percentage", "validation_percentage", "seconds")
    }
    seconds = training.pop("seconds", {})
    return {
        "run": card.name,
        "created": card.created,
        "planned": plan.created,
        "root": plan.root,
        "link": f"file://{_quote(plan.root).rstrip('/')}/",
        "images": plan.images,
        "labels": figures["labels"],
        "isMultiLabel": card.activation == SIGMOID,
        "splits": {split: figures[split] for split in ("test", "validation")},
        "temperature": figures["temperature"],
        "promise": figures.get("promise"),
        "photographs": [_row(photograph) for photograph in listing.photographs],
        "thumbnails": [base64.b64encode(picture or b"").decode() for picture in thumbnails],
        "mistakes": listing.mistakes,
        "uncertain": listing.uncertain,
        "suspects": listing.suspects,
        "duplicates": listing.duplicates,
        "isSearched": results.findings.is_complete,
        "unreadable": results.quarantine[:_MOST_UNREADABLE],
        "curve": _curve(results.curve),
        "counts": card.counts,
        "settings": {
            "architecture": card.architecture,
            "input size": " × ".join(str(n) for n in card.preprocessing.input_size),
            "bottleneck size": card.bottleneck_size,
            "weights (SHA-256)": card.weights,
            "backbone": card.backbone_id,
            **training,
            **(
                {"splits named by folders": ", ".join(plan.given_splits)}
                if plan.given_splits
                else {}
            ),
            "names moved between splits": len(exceptions),
        },
        "seconds": seconds,
        "versions": card.versions,
    }


def _row(photograph: Photograph) -> list[Any]:
    path = photograph.path
    link = _quote(path)
    return [*astuple(photograph), None if link == path else link]


def _quote(name: str) -> str:
    return urllib.parse.quote_from_bytes(os.fsencode(decode_name(name)))


def _curve(steps: list[Step]) -> dict[str, list[float | None]]:
    stride = max(1, math.ceil(len(steps) / _MOST_STEPS))
    kept = steps[::-stride][::-1]  # the last step is always there
    return {name: [getattr(step, name) for step in kept] for name in CURVE_COLUMNS}
