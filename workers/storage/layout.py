"""Where everything lies in shared storage."""

import re
from dataclasses import dataclass
from pathlib import Path

from workers.errors import ModelError, RunError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    ``run.json`` and ``manifest.parquet`` are the immutable plan. The markers are files
    whose existence alone says something, so that the state survives any process.
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def plan(self) -> Path:
        return self.path / "run.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.parquet"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def steps(self) -> Path:
        """The learning curve while it is drawn; see `workers.heads.learning_curve`."""
        return self.path / "steps.csv"

    @property
    def checkpoint(self) -> Path:
        """Where an interrupted gradient descent continues; gone when there is a model."""
        return self.path / "checkpoint.npz"

    @property
    def heads(self) -> Path:
        """Folder of the heads that a gradient descent kept on the way, by their step."""
        return self.path / "heads"

    @property
    def summaries(self) -> Path:
        """Folder of TensorBoard's files."""
        return self.path / "summaries"

    @property
    def report(self) -> Path:
        return self.model / "report.html"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def retrain(self) -> Path:
        """What a run of the codelab's command has yet to write elsewhere: its flags as JSON."""
        return self.path / "retrain.json"

    @property
    def failure(self) -> Path:
        return self.path / "failed.json"

    @property
    def trouble(self) -> Path:
        """Why the run could not continue when it was last tried, in words."""
        return self.path / "trouble.txt"

    @property
    def cancelled(self) -> Path:
        return self.path / "cancelled"

    @property
    def paused(self) -> Path:
        """Set by Ctrl-C: the coordinator leaves the run alone until it is resumed."""
        return self.path / "paused"

    @property
    def detached(self) -> Path:
        """Set for a run that no command attends: the coordinator takes it up at once."""
        return self.path / "detached"

    @property
    def redo(self) -> Path:
        """Folder of markers: batches whose bottlenecks turned out missing or damaged."""
        return self.path / "redo"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    def prediction_shard(self, batch: int) -> Path:
        return self.predictions / f"{batch:08d}.parquet"


@dataclass(frozen=True)
class Storage:
    """The root of shared storage."""

    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, name: str) -> RunFolder:
        """Return the folder of run `name`, which need not exist.

        Raises:
            RunError: When the name could leave the folder of runs.
        """
        check_run_name(name)
        return RunFolder(self.runs / name)

    def weights(self, digest: str) -> Path:
        return self.root / "weights" / f"{_plain(digest)}.h5"

    def backbone(self, backbone_id: str) -> Path:
        """Folder of one converted backbone: ``backbone.tflite`` and ``backbone.json``."""
        return self.root / "backbones" / _plain(backbone_id)

    def bottlenecks(self, backbone_id: str) -> Path:
        """Folder of all bottleneck shards of one backbone, shared by every run."""
        return self.root / "bottlenecks" / _plain(backbone_id)

    def shard(self, backbone_id: str, shard: str) -> Path:
        return self.bottlenecks(backbone_id) / shard[:2] / f"{shard}.arrow"


def _plain(name: str) -> str:
    """Return an id, which may come from a stranger's model, if it cannot leave its folder."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"{name!r} is no name of a backbone or of weights.")
    return name


def check_run_name(name: str) -> None:
    """Refuse a run name that is not a plain, portable file name."""
    if not _NAME.fullmatch(name):
        raise RunError(
            f"Run name {name!r} is not allowed. Use letters, digits, '.', '_' and '-', "
            "at most 100, starting with a letter or digit."
        )
