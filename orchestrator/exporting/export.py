"""Hand out a model in the formats of other tools: into a folder, whole or not at all."""

import math
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.exporting.calibration_images import choose_photographs
from orchestrator.planning.weights import locate_weights
from orchestrator.progress import OnProgress, Progress, ignore
from orchestrator.runs import find_model
from workers.backbones.table import find_spec
from workers.backbones.weights import digest_file, seed_of
from workers.errors import ExportError, UsageError, WeightsError
from workers.exports.formats import FORMATS
from workers.exports.model_readme import ReadmeContent, write_readme
from workers.exports.request import ExportRequest
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import MODEL_FILES, ModelCard, read_card, read_head
from workers.processes.child import QUIET_TENSORFLOW, Child, DeathError
from workers.settings import Settings
from workers.storage.atomic import storage_errors, sync_folder
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import read_plan

_README = "README.md"
FINAL_TENSOR = "final_result"
_TENSOR_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/-]*")
# Names that the graph has already.
_TAKEN_NAMES = ("input", "Mul")


@dataclass(frozen=True)
class ExportOptions:
    """What to hand out.

    Attributes:
        model: A run, a model folder, or "latest".
        formats: Rows of FORMATS; empty for all that are possible.
        overwrite: Replace an earlier export in `target`.
    """

    model: str
    target: Path
    formats: tuple[str, ...] = ()
    overwrite: bool = False
    final_tensor_name: str = FINAL_TENSOR


def export_model(
    settings: Settings,
    options: ExportOptions,
    on_progress: OnProgress = ignore,
) -> dict[str, Any]:
    """Write a model, and a model card, into a folder that appears whole or not at all.

    Returns:
        `model`, `folder`, and `formats`: for each what `workers.exports.program` says of it.

    Raises:
        UsageError: When the folder is taken.
        ExportError: When a format that was asked for by name is not possible.
        ModelError, WeightsError, StorageError: As their names say.
    """
    check_tensor_name(options.final_tensor_name)
    storage = Storage(settings.storage)
    folder = find_model(storage, options.model)
    card = read_card(folder)
    read_head(folder, card)
    check_backbone(folder, card)
    target = options.target.expanduser().absolute()
    _check_target(target, options.overwrite)
    weights = find_source_weights(settings, card, on_progress)
    temporary = target.parent / f".tmp-{uuid.uuid4().hex}"
    with storage_errors(f"write {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            reports = _write(storage, folder, card, weights, temporary, options, on_progress)
            _put(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return {"model": card.name, "folder": str(target), "formats": reports}


def check_tensor_name(name: str) -> None:
    if not _TENSOR_NAME.fullmatch(name) or name in _TAKEN_NAMES:
        raise UsageError(
            f"The final tensor cannot be called {name!r}. Use letters, digits, '_', '.', '/' and "
            f"'-', and not {' or '.join(_TAKEN_NAMES)}."
        )


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file. Give another folder with --to.")
    ours = {_README, *MODEL_FILES, *(file for row in FORMATS.values() for file in row.files)}
    found = {path.name for path in target.iterdir()}
    if found - ours:
        raise UsageError(
            f"{target} holds other files ({min(found - ours)}), and an export has a folder of its "
            "own. Give another one with --to."
        )
    if found and not overwrite:
        raise UsageError(f"{target} exists. Give another folder with --to, or --force.")


def find_source_weights(
    settings: Settings, card: ModelCard, on_progress: OnProgress
) -> Path | None:
    """Return the weights file that a model was made with; None for random ones.

    Raises:
        WeightsError: When it cannot be found, or is another one.
    """
    if seed_of(card.weights) is not None:
        return None
    stored = Storage(settings.storage).weights(card.weights)
    spec = find_spec(card.architecture)
    if not stored.exists():
        found = locate_weights(settings, spec, None, on_progress)
        if found != card.weights:
            raise WeightsError(
                f"The weights {spec.weights_file} that were found are not those of {card.name} "
                f"(SHA-256 {card.weights}). Put the right file into a folder named by "
                "POETS_WEIGHTS_DIR."
            )
    if digest_file(stored) != card.weights:
        raise WeightsError(f"The weights {stored} were altered. Delete the file and export again.")
    return stored


def _write(
    storage: Storage,
    folder: Path,
    card: ModelCard,
    weights: Path | None,
    target: Path,
    options: ExportOptions,
    on_progress: OnProgress,
) -> list[dict[str, Any]]:
    for name in MODEL_FILES:
        shutil.copyfile(folder / name, target / name)
    run = RunFolder(folder.parent)
    plan = read_plan(run) if run.plan.exists() else None
    photographs, no_photographs = choose_photographs(run, plan)
    formats = options.formats or tuple(FORMATS)
    request = ExportRequest(
        model=str(folder),
        target=str(target),
        formats=formats,
        weights=str(weights) if weights else None,
        final_tensor_name=options.final_tensor_name,
        photographs=tuple(photographs),
        no_photographs=no_photographs,
    )
    reports = run_export([request], on_progress)
    refused = [report for report in reports if "reason" in report]
    if refused and (options.formats or len(refused) == len(reports)):
        first = refused[0]
        raise ExportError(f"No {first['format']} of {card.name}: {first['reason']}.")
    data_set = os.path.basename(plan.root) if plan else ""
    text = write_readme(ReadmeContent(card, data_set, reports, options.final_tensor_name))
    (target / _README).write_text(text, "utf-8")
    return reports


def run_export(requests: list[ExportRequest], on_progress: OnProgress) -> list[dict[str, Any]]:
    """Return what became of each format of each request, from one program of its own.

    Raises:
        ExportError: When that program failed.
    """
    formats = [name for request in requests for name in request.formats]
    reports: list[dict[str, Any]] = []

    def show() -> None:
        left = formats[len(reports) :]
        note = f"{left[0]}, {len(reports) + 1} of {len(formats)}" if left else ""
        on_progress(Progress("exporting", note=note))

    child: Child[dict[str, Any]] = Child(
        "workers.exports.program", [], dict[str, Any], environment=QUIET_TENSORFLOW
    )
    with child:
        show()
        try:
            for report in child.answers(requests, math.inf):
                reports.append(report)
                show()
        except DeathError as died:
            raise ExportError(f"The export failed: {died.last_words or died}") from died
    return reports


def _put(temporary: Path, target: Path) -> None:
    """Move a finished folder to its place; what was there stays until that moment."""
    old = temporary.with_name(f"{temporary.name}-old")
    if target.exists():
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(target.parent)
