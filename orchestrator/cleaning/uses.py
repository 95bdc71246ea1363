"""What the runs of a storage use of what they share: bottlenecks, backbones and weights."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from workers.errors import NoRunError, PoetsError
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import list_shards
from workers.storage.plan import Plan, read_plan


@dataclass
class Uses:
    """What is in use, by backbone or by name.

    Attributes:
        runs: Names of all runs that can be read.
        shards: Backbone id -> names of shards.
        outputs: What labelling jobs write.
        remains: Folders among the runs that have no plan.
        unreadable: Runs of which nobody can say what they use.
        has_folder: Whether there is a folder of runs at all.
    """

    runs: set[str] = field(default_factory=set)
    shards: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    backbones: set[str] = field(default_factory=set)
    weights: set[str] = field(default_factory=set)
    outputs: set[Path] = field(default_factory=set)
    remains: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    has_folder: bool = True

    def has_shard(self, backbone_id: str, shard: str) -> bool:
        """Whether a run uses a shard, or may have made it in place of one that was lost."""
        run, _, batch = shard.rpartition("-")
        return shard in self.shards[backbone_id] or (batch.isdecimal() and run in self.runs)


def find_uses(storage: Storage) -> Uses:
    """Return what the runs use, also those in folders that links lead to.

    Raises:
        OSError: When the storage does not answer: then nothing is known.
    """
    uses = Uses()
    try:
        with os.scandir(storage.runs) as entries:
            folders = [Path(entry.path) for entry in entries if _may_be_run(entry)]
    except FileNotFoundError:
        uses.has_folder = False
        return uses
    for path in sorted(folders):
        folder = RunFolder(path)
        try:
            plan = read_plan(folder)
            _add(uses, folder, plan)
        except NoRunError:
            if not path.is_symlink():
                uses.remains.append(path)
        except PoetsError:
            uses.unreadable.append(path.name)
    return uses


def _may_be_run(entry: "os.DirEntry[str]") -> bool:
    return not entry.name.startswith(".") and entry.is_dir()


def _add(uses: Uses, folder: RunFolder, plan: Plan) -> None:
    uses.runs.add(folder.name)
    uses.backbones.add(plan.backbone_id)
    uses.weights.add(plan.weights_digest)
    if plan.labelling:
        uses.outputs.add(Path(plan.labelling.output))
    uses.shards[plan.backbone_id] |= list_shards(folder)
