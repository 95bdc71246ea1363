"""Where everything lies in shared storage."""

import re
from dataclasses import dataclass
from pathlib import Path

from workers.errors import ModelError, RunNameError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class InRunFolder:
    """A path in the folder of a run."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: "RunFolder", _: type) -> Path:
        return folder.path / self._name


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    ``run.json`` and ``manifest.parquet`` are the immutable plan. The markers are files
    whose existence alone says something, so that the state survives any process.
    """

    path: Path

    plan = InRunFolder("run.json")
    manifest = InRunFolder("manifest.parquet")
    model = InRunFolder("model")
    report = InRunFolder("model/report.html")
    result = InRunFolder("result.json")
    failure = InRunFolder("failed.json")
    # The learning curve while it is drawn; see `workers.heads.learning_curve`.
    steps = InRunFolder("steps.csv")
    # Where an interrupted gradient descent goes on; gone when there is a model.
    checkpoint = InRunFolder("checkpoint.npz")
    # Folder of the heads that a gradient descent kept on the way, by their step.
    heads = InRunFolder("heads")
    # Folder of TensorBoard's files.
    summaries = InRunFolder("summaries")
    # What `poets retrain` has yet to write elsewhere, such as its graph: its flags as JSON.
    retrain = InRunFolder("retrain.json")
    # Why the run could not go on when it was last tried, in words.
    trouble = InRunFolder("trouble.txt")
    cancelled = InRunFolder("cancelled")
    # Set by Ctrl-C, SIGTERM and SIGHUP: the coordinator leaves the run alone until `poets resume`.
    paused = InRunFolder("paused")
    # Set by ``--detach``: the coordinator takes the run up at once.
    detached = InRunFolder("detached")
    # Folder of markers: batches whose bottlenecks turned out missing or damaged.
    redo = InRunFolder("redo")
    # Folder of notes on batches: see `workers.storage.unreachable`.
    unreachable = InRunFolder("unreachable")
    # The part of its images that may be unreachable, where that of the plan was overridden.
    max_failed = InRunFolder("max_failed")
    predictions = InRunFolder("predictions")

    @property
    def name(self) -> str:
        return self.path.name

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
            RunNameError: When the name could leave the folder of runs.
        """
        check_run_name(name)
        return RunFolder(self.runs / name)

    def weights(self, digest: str) -> Path:
        return self.root / "weights" / f"{_plain(digest)}.h5"

    def weights_origin(self, digest: str) -> Path:
        """File with the path that these weights were copied from: the one to mend."""
        return self.root / "weights" / f"{_plain(digest)}.origin"

    def backbone(self, backbone_id: str) -> Path:
        """Folder of one converted backbone: ``backbone.tflite`` and ``backbone.json``."""
        return self.root / "backbones" / _plain(backbone_id)

    def bottlenecks(self, backbone_id: str) -> Path:
        """Folder of all bottleneck shards of one backbone, shared by every run."""
        return self.root / "bottlenecks" / _plain(backbone_id)

    @property
    def digests(self) -> Path:
        """Folder of the digests of files that were hashed to plan a run."""
        return self.root / "digests"

    def shard(self, backbone_id: str, shard: str) -> Path:
        return self.bottlenecks(backbone_id) / shard[:2] / f"{shard}.arrow"


def _plain(name: str) -> str:
    """Return an id, which may come from a stranger's model, if it cannot leave its folder."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"{name!r} is not the name of a backbone or of weights.")
    return name


def check_run_name(name: str) -> None:
    """Refuse a run name that is not a plain, portable file name."""
    if not _NAME.fullmatch(name):
        raise RunNameError(
            f"Run name {name!r} is not allowed. Use letters, digits, '.', '_' and '-', "
            "at most 100, starting with a letter or digit."
        )
