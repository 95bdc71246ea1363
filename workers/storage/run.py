"""A run as it is passed on: where it is stored, and what was planned."""

from dataclasses import dataclass
from pathlib import Path

from workers.storage.layout import RunFolder, Storage
from workers.storage.plan import Plan, read_plan


@dataclass(frozen=True)
class Run:
    """A planned run. Its folder tells how far it is; its plan never changes."""

    storage: Storage
    folder: RunFolder
    plan: Plan

    @classmethod
    def open(cls, storage: Storage, name: str) -> "Run":
        """Return a run that was planned before.

        Raises:
            RunError: When there is no such run, or its plan cannot be read.
        """
        folder = storage.run(name)
        return cls(storage, folder, read_plan(folder))

    @property
    def name(self) -> str:
        return self.folder.name

    def shard(self, name: str) -> Path:
        """Return where the bottlenecks of a shard are, which other runs may share."""
        return self.storage.shard(self.plan.backbone_id, name)
