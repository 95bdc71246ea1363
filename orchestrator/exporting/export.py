"""Export a model to the formats of other tools: into a folder, whole or not at all."""

import contextlib
import math
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.models import find_model
from orchestrator.planning.weights import locate_weights
from orchestrator.progress import OnProgress, Progress, ignore
from workers.backbones.table import find_spec
from workers.backbones.weights import digest_file, seed_of
from workers.bottlenecks.batches import image_path
from workers.errors import (
    EarlierExportError,
    ExportError,
    RunError,
    TargetError,
    UsageError,
    WeightsError,
)
from workers.exports.formats import FORMATS, ExportRequest
from workers.exports.model_readme import write_readme
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import MODEL_FILES, ModelCard, copy_model, read_card, read_head
from workers.processes.child import Child, DeathError
from workers.processes.surroundings import QUIET_TENSORFLOW
from workers.settings import Settings
from workers.storage.atomic import storage_errors, sync_folder
from workers.storage.layout import RunFolder, Storage
from workers.storage.making import make_storage
from workers.storage.manifest import count_split, read_batches
from workers.storage.plan import Run, read_plan
from workers.storage.temporary import (
    remove_abandoned,
    replaced_beside,
    restore_replaced,
    temporary_beside,
)

_README = "README.md"
FINAL_TENSOR = "final_result"
_TENSOR_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/-]*")
# Training images that 16 and 8 bits are calibrated with, and all formats checked with.
_PHOTOGRAPHS = 200
# Names that the graph has already.
_TAKEN_NAMES, _TAKEN_SCOPES = ("input", "Mul"), ("input/", "final_training_ops/")


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        model: A run, a model folder, or "latest".
        formats: Names of rows of FORMATS; empty for all that are possible.
        overwrite: Replace an earlier export in `target`.
    """

    model: str
    target: Path
    formats: tuple[str, ...] = ()
    overwrite: bool = False
    final_tensor_name: str = FINAL_TENSOR


def export_model(
    settings: Settings, options: ExportOptions, on_progress: OnProgress = ignore
) -> dict[str, Any]:
    """Write a model, and a model card, into a folder that appears whole or not at all.

    Returns:
        `model`, `folder`, `input_size` (height, width), and `formats`: the reports of
        `workers.exports.program`.

    Raises:
        TargetError: When the folder is taken.
        ExportError: When a format that was asked for by name is not possible.
        StorageError: When the storage refuses.
        PoetsError: See `open_model`.
    """
    target = options.target.expanduser().absolute()
    with storage_errors(f"write {target}"), contextlib.suppress(FileNotFoundError):
        restore_replaced(target)
    _check_target(target, options.overwrite)
    card, run, request = open_model(settings, options.model, options.final_tensor_name, on_progress)
    temporary = temporary_beside(target)
    formats = tuple(dict.fromkeys(options.formats)) or tuple(FORMATS)
    request = replace(request, target=str(temporary), formats=formats)
    with storage_errors(f"write {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        temporary.mkdir()
        try:
            copy_model(Path(request.model), temporary, MODEL_FILES)
            reports = run_export([request], on_progress)
            refused = [report for report in reports if "reason" in report]
            if refused and (options.formats or len(refused) == len(reports)):
                first = refused[0]
                raise ExportError(f"No {first['format']} of {card.name}: {first['reason']}.")
            data_set = os.path.basename(run.plan.root) if run else ""
            text = write_readme(card, data_set, reports, options.final_tensor_name)
            (temporary / _README).write_text(text, "utf-8")
            _put(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return {
        "model": card.name,
        "folder": str(target),
        "input_size": card.preprocessing.input_size,
        "formats": reports,
    }


def open_model(
    settings: Settings, reference: str, final_tensor_name: str, on_progress: OnProgress
) -> tuple[ModelCard, Run | None, ExportRequest]:
    """Check all that an export uses of a model.

    Returns:
        Its card; its run, None where it is not in this storage; and a request without a target
        and formats.

    Raises:
        UsageError: When the tensor cannot have this name.
        ModelError: When there is no such model, or it is damaged.
        WeightsError: When the weights of its backbone cannot be found, or were altered.
    """
    check_tensor_name(final_tensor_name)
    storage = Storage(settings.storage)
    folder = find_model(storage, reference)
    card = read_card(folder)
    read_head(folder, card)
    check_backbone(folder, card)
    home = RunFolder(folder.parent)
    run = Run(storage, home, read_plan(home)) if home.plan.exists() else None
    photographs, no_photographs = choose_photographs(run)
    request = ExportRequest(
        model=str(folder),
        target="",
        formats=(),
        weights=_find_weights(settings, card, on_progress),
        final_tensor_name=final_tensor_name,
        photographs=tuple(photographs),
        no_photographs=no_photographs,
    )
    return card, run, request


def choose_photographs(run: Run | None) -> tuple[list[tuple[str, int, int]], str]:
    """Return training images from all over a run, or the reason why there are none.

    Args:
        run: The run that made the model, None where it is not in this storage.

    Returns:
        At most 200 of path, size in bytes and modification time in ns; and the reason.
    """
    if run is None:
        return [], "the run that made this model is not here"
    try:
        total = count_split(run.folder, "training")
        wanted = min(_PHOTOGRAPHS, total)
        images = (image for batch in read_batches(run.folder) for image in batch.images)
        training = (image for image in images if image.split == "training")
        # Evenly, since a manifest is in the order of the labels.
        chosen = [
            (image_path(run.plan, image), image.size, image.version)
            for i, image in enumerate(training)
            if i * wanted // total != (i + 1) * wanted // total
        ]
    except RunError as error:
        return [], f"the manifest of its run cannot be read ({error})"
    return chosen, ""


def check_tensor_name(name: str) -> None:
    is_taken = name in _TAKEN_NAMES or name.startswith(_TAKEN_SCOPES)
    if is_taken or not _TENSOR_NAME.fullmatch(name):
        raise UsageError(
            f"The final tensor cannot be called {name!r}. Use letters, digits, '_', '.', '/' and "
            f"'-', but not {', '.join((*_TAKEN_NAMES, *_TAKEN_SCOPES))}."
        )


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise TargetError(f"{target} is a file.")
    ours = {_README, *MODEL_FILES, *(file for row in FORMATS.values() for file in row.files)}
    found = {path.name for path in target.iterdir()}
    if found - ours:
        raise TargetError(
            f"{target} holds other files ({min(found - ours)}), but an export needs its own folder."
        )
    if found and not overwrite:
        raise EarlierExportError(f"{target} exists.")


def _find_weights(settings: Settings, card: ModelCard, on_progress: OnProgress) -> str | None:
    """Return the weights file of a model's backbone; None for random weights."""
    if seed_of(card.weights) is not None:
        return None
    stored = Storage(settings.storage).weights(card.weights)
    spec = find_spec(card.architecture)
    if not stored.exists():
        make_storage(settings.storage)
        found = locate_weights(settings, spec, None, on_progress)
        if found != card.weights:
            raise WeightsError(
                f"The weights {spec.weights_file} that were found are not those of {card.name} "
                f"(SHA-256 {card.weights}). Put the right file into a folder that "
                "POETS_WEIGHTS_DIR names."
            )
    if digest_file(stored) != card.weights:
        raise WeightsError(f"The weights {stored} were altered. Delete the file and export again.")
    return str(stored)


def run_export(requests: list[ExportRequest], on_progress: OnProgress) -> list[dict[str, Any]]:
    """Return a report on each format of each request, all from one separate program.

    Raises:
        ExportError: When that program failed.
    """
    formats = [name for request in requests for name in request.formats]
    reports = []
    program = "workers.exports.program"
    with Child[dict[str, Any]](program, [], dict[str, Any], environment=QUIET_TENSORFLOW) as child:
        answers = child.answers(requests, math.inf)
        try:
            for number, name in enumerate(formats, 1):
                note = f"{name}, {number} of {len(formats)}"
                on_progress(Progress("exporting", note=note))
                reports.append(next(answers))
        except DeathError as died:
            raise ExportError(f"The export failed: {died.last_words or died}") from died
    return reports


def _put(temporary: Path, target: Path) -> None:
    """Put a finished folder at `target`; what was there stays until that moment."""
    old = replaced_beside(target)
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
