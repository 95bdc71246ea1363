"""Run TensorBoard on the summaries of one run, or of all runs."""

import functools
import importlib.util
import os
import tempfile
from pathlib import Path

from orchestrator.dashboards.flower import run_program
from workers.errors import LabellingJobError, RunError
from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import read_plan
from workers.storage.temporary import scratch_prefix

_UPDATE_S = 3.0


def check_summaries(folder: RunFolder) -> None:
    """Raise LabellingJobError or RunError for a run of which TensorBoard has nothing to show."""
    plan = read_plan(folder)
    if plan.kind == "label":
        raise LabellingJobError(f"{folder.name!r} is a labelling job, which has no learning curve.")
    if not folder.summaries.is_dir():
        why = "they were deleted. Train it again."
        if not folder.model.exists():
            why = "its training has not begun. Try again when it has, or leave out its name to see "
            why += "runs as they come."
        raise RunError(f"Run {folder.name!r} has no summaries: {why}")


def run_tensorboard(storage: Storage, run: str | None, address: str, port: int) -> int:
    """Run TensorBoard until it ends, Ctrl-C or SIGTERM; return its exit code.

    Args:
        run: Name of the only run to show; None for all, also those that come later.
    """
    fast = importlib.util.find_spec("tensorboard_data_server") is not None
    with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as links:
        arguments = [
            f"--logdir={links}",
            f"--host={address}",
            f"--port={port}",
            f"--load_fast={'true' if fast else 'false'}",
        ]
        program = ["-m", "orchestrator.dashboards.tensorboard_program", *arguments]
        update = functools.partial(link_summaries, storage, run, Path(links))
        # Or its parts would look for each other behind the proxy of `http_proxy`.
        environment = {**os.environ, "no_grpc_proxy": "localhost"}
        return run_program(program, environment, Path(links), update, _UPDATE_S)


def link_summaries(storage: Storage, run: str | None, links: Path) -> None:
    """Make `links` hold a link to the summaries of each run, under the run's name.

    So TensorBoard calls them RUN/train and RUN/validation, and never walks through the
    other files of the runs, of which there may be very many.
    """
    folders = [storage.run(run).path] if run else sorted(storage.runs.glob("[!.]*"))
    present = {path.name: path / "summaries" for path in folders if (path / "summaries").is_dir()}
    for name, summaries in present.items():
        if not (links / name).is_symlink():
            (links / name).symlink_to(summaries.resolve())
    for link in links.iterdir():
        if link.name not in present:
            link.unlink()
