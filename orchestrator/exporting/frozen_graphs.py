"""Write the codelab's files: a frozen graph, its labels, and graphs of heads on the way."""

import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from orchestrator.exporting.calibration_images import choose_photographs
from orchestrator.exporting.export import (
    FINAL_TENSOR,
    check_tensor_name,
    find_source_weights,
    run_export,
)
from orchestrator.progress import OnProgress, ignore
from orchestrator.runs import find_model
from workers.errors import ExportError, UsageError
from workers.exports.formats import GRAPH, LABELS
from workers.exports.request import ExportRequest
from workers.heads.model_backbone import check_backbone
from workers.heads.model_folder import MODEL_FILES, ModelCard, read_card, read_head
from workers.settings import Settings
from workers.storage.atomic import write_whole
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import read_plan

_HEAD = "head.npz"
_NO_HEADS: Mapping[Path, Path] = {}


def check_outputs(files: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """Refuse places that cannot be written to, before hours of work.

    Raises:
        UsageError: When a file is a folder or is there twice, or a folder or anything above
            is a file.
    """
    if len({path.resolve() for path in files}) < len(files):
        raise UsageError(f"{files[0]} would be written twice. Give each output a path of its own.")
    for path in (*files, *folders):
        blocked = next((p for p in path.absolute().parents if p.exists() and not p.is_dir()), None)
        if blocked:
            raise UsageError(f"{path} cannot be written: {blocked} is a file. Give another path.")
    for path in files:
        if path.is_dir():
            raise UsageError(f"{path} is a folder. Give the path of a file.")
    for path in folders:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file. Give the path of a folder.")


def export_graphs(
    settings: Settings,
    model: str,
    graph: Path,
    labels: Path,
    final_tensor_name: str = FINAL_TENSOR,
    heads: Mapping[Path, Path] = _NO_HEADS,
    on_progress: OnProgress = ignore,
) -> None:
    """Write a model's frozen graph and its labels where they are wanted.

    Each graph is compared with poets itself before it is handed out. Files that are there
    are replaced, and all only when every graph is right.

    Args:
        heads: Graphs to write as well, each with the ``head.npz`` that takes the place of
            the model's own; all in one program, since TensorFlow takes seconds to start.

    Raises:
        ExportError: When a graph is not right.
        PoetsError: As `orchestrator.exporting.export.export_model`.
    """
    check_tensor_name(final_tensor_name)
    folder = find_model(Storage(settings.storage), model)
    card = read_card(folder)
    read_head(folder, card)
    check_backbone(folder, card)
    weights = find_source_weights(settings, card, on_progress)
    with tempfile.TemporaryDirectory() as scratch:
        models = {graph: folder}
        for number, (path, head) in enumerate(heads.items()):
            models[path] = _with_head(folder, card, head, Path(scratch, f"model-{number}"))
        made = {path: Path(scratch, f"graph-{number}") for number, path in enumerate(models)}
        requests = []
        for path, source in models.items():
            made[path].mkdir()
            requests.append(
                ExportRequest(
                    model=str(source),
                    target=str(made[path]),
                    formats=("graph",),
                    weights=str(weights) if weights else None,
                    final_tensor_name=final_tensor_name,
                    # The others differ in nothing that a photograph could show.
                    photographs=_photographs(folder) if source == folder else (),
                )
            )
        for report in run_export(requests, on_progress):
            if "reason" in report:
                raise ExportError(f"No graph of {card.name}: {report['reason']}.")
        for path, source in made.items():
            write_whole(path, partial(shutil.copyfile, source / GRAPH))
        write_whole(labels, partial(shutil.copyfile, made[graph] / LABELS))


def _photographs(folder: Path) -> tuple[tuple[str, int, int], ...]:
    run = RunFolder(folder.parent)
    found, _ = choose_photographs(run, read_plan(run) if run.plan.exists() else None)
    return tuple(found)


def _with_head(folder: Path, card: ModelCard, head: Path, target: Path) -> Path:
    """Return a model folder beside which only the head differs, after checking it."""
    target.mkdir()
    for name in MODEL_FILES:
        if name == _HEAD:
            shutil.copyfile(head, target / name)
        else:
            (target / name).symlink_to((folder / name).absolute())
    read_head(target, card)
    return target
