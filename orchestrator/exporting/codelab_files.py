"""The codelab's files: a frozen graph, its labels, intermediate graphs, summaries, a final test."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.exporting.export import FINAL_TENSOR, open_model, run_export
from orchestrator.progress import OnProgress, ignore
from workers.errors import ExportError, RefusedError, UsageError
from workers.exports.formats import GRAPH, LABELS
from workers.heads.model_folder import BACKBONE, ModelCard, copy_model, read_head
from workers.settings import Settings
from workers.storage.atomic import put_whole, storage_errors
from workers.storage.layout import RunFolder
from workers.storage.plan import Run
from workers.storage.root import make_folder
from workers.storage.temporary import remove_abandoned, scratch_prefix


def check_outputs(files: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """Refuse paths that cannot be written to, before hours of work.

    Raises:
        UsageError: When a file is given twice.
        RefusedError: When a file is a folder, or a folder or anything above is a file.
    """
    if len({path.resolve() for path in files}) < len(files):
        raise UsageError(f"{files[0]} would be written twice. Give each output a path of its own.")
    for path in (*files, *folders):
        blocked = next((p for p in path.absolute().parents if p.exists() and not p.is_dir()), None)
        if blocked:
            raise RefusedError(f"{path} cannot be written: {blocked} is a file. Give another path.")
    for path in files:
        if path.is_dir():
            raise RefusedError(f"{path} is a folder. Give the path of a file.")
    for path in folders:
        if path.exists() and not path.is_dir():
            raise RefusedError(f"{path} is a file. Give the path of a folder.")


def export_graphs(
    settings: Settings,
    model: str,
    graph: Path,
    labels: Path,
    heads: Mapping[Path, Path],
    final_tensor_name: str = FINAL_TENSOR,
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
    with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as scratch:
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
        for folder in {path.parent for path in (*requests, labels)}:
            remove_abandoned(folder)
        for path, asked in requests.items():
            _put(path, Path(asked.target, GRAPH))
        _put(labels, Path(requests[graph].target, LABELS))


def _put(path: Path, made: Path) -> None:
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    put_whole(path, partial(shutil.copyfile, made))


def _with_head(folder: Path, card: ModelCard, head: Path, target: Path) -> Path:
    """Make `target` a model folder with another head, after checking it."""
    copy_model(folder, target)
    shutil.copyfile(head, target / "head.npz")
    # Checked by `open_model`, and too large for a copy by head.
    (target / BACKBONE).symlink_to((folder / BACKBONE).absolute())
    read_head(target, card)
    return target


def link_summaries(run: RunFolder, folder: Path) -> Path:
    """Link the summaries of a run, before there are any, into `folder`; return the link.

    What is in `folder` stays, though retrain.py deleted it. A link, so that a fit can be
    watched, and a relative one, so that storage and summaries may move together.

    Raises:
        StorageError: When the storage refuses.
    """
    with storage_errors(f"write {folder}"):
        make_folder(run.summaries)
        folder.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(run.summaries.resolve(), folder.resolve())
        # A run of another storage may have this name.
        number, link = 1, folder / run.name
        while link.exists():
            number += 1
            link = folder / f"{run.name}-{number}"
        link.unlink(missing_ok=True)  # a link that leads nowhere: its storage is gone
        link.symlink_to(target)
    return link


def examine_test(run: Run, batch_size: int) -> dict[str, Any]:
    """Return the figures of the test split, or of a seeded sample of it.

    Args:
        batch_size: Images in the sample; -1 for all.

    Returns:
        `final_test_accuracy`, 0 to 1, None without images; `final_test_images`; and
        `misclassified`: `path` below the data set, and the label `predicted`.
    """
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["path", "label", "predicted"]
    table = pq.read_table(
        run.folder.model / "predictions.parquet", columns=columns, filters=[("split", "=", "test")]
    )
    if 0 <= batch_size < len(table):
        seed = run.plan.training.seed if run.plan.training else 0
        # With a salt, so that it differs from the other draws of a run.
        generator = np.random.default_rng([seed, 2])
        table = table.take(np.sort(generator.choice(len(table), batch_size, replace=False)))
    wrong = table.filter(pc.field("predicted") != pc.field("label"))
    return {
        "final_test_accuracy": 1 - len(wrong) / len(table) if len(table) else None,
        "final_test_images": len(table),
        "misclassified": wrong.select(["path", "predicted"]).to_pylist(),
    }
