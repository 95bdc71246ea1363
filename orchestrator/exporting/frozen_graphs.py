"""Write the codelab's files: a frozen graph, its labels, and graphs of intermediate heads."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestrator.exporting.export import FINAL_TENSOR, open_model, run_export
from orchestrator.progress import OnProgress, ignore
from workers.errors import ExportError, UsageError
from workers.exports.formats import GRAPH, LABELS
from workers.heads.model_folder import MODEL_FILES, ModelCard, read_head
from workers.settings import Settings
from workers.storage.atomic import write_whole

_HEAD = "head.npz"
_NO_HEADS: Mapping[Path, Path] = {}


def check_outputs(files: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """Refuse paths that cannot be written to, before hours of work.

    Raises:
        UsageError: When a file is a folder or given twice, or a folder or anything above is a
            file.
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
    """Write a model's frozen graph and its labels.

    Each graph is compared with poets itself. Existing files are replaced, and only once every
    graph is right.

    Args:
        heads: Further graphs to write, each with the ``head.npz`` that replaces the model's
            own; all by one program, since TensorFlow takes seconds to start.

    Raises:
        ExportError: When a graph is not right.
        PoetsError: See `orchestrator.exporting.export.export_model`.
    """
    card, _, request = open_model(settings, model, final_tensor_name, on_progress)
    with tempfile.TemporaryDirectory() as scratch:
        requests = {}
        for number, path in enumerate((graph, *heads)):
            made = Path(scratch, f"graph-{number}")
            made.mkdir()
            requests[path] = replace(request, target=str(made), formats=("graph",))
            if path in heads:
                other = _with_head(
                    Path(request.model), card, heads[path], Path(scratch, f"model-{number}")
                )
                # It differs by its head only, which noise can check.
                requests[path] = replace(requests[path], model=str(other), photographs=())
        for report in run_export(list(requests.values()), on_progress):
            if "reason" in report:
                raise ExportError(f"No graph of {card.name}: {report['reason']}.")
        for path, asked in requests.items():
            write_whole(path, partial(shutil.copyfile, Path(asked.target, GRAPH)))
        write_whole(labels, partial(shutil.copyfile, Path(requests[graph].target, LABELS)))


def _with_head(folder: Path, card: ModelCard, head: Path, target: Path) -> Path:
    """Make `target` a model folder with another head, after checking it."""
    target.mkdir()
    for name in MODEL_FILES:
        if name == _HEAD:
            shutil.copyfile(head, target / name)
        else:
            (target / name).symlink_to((folder / name).absolute())
    read_head(target, card)
    return target
