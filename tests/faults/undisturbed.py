"""The run that nothing happened to, which every disturbed one is compared with."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.accounting import (
    assert_all_accounted,
    assert_same_bottlenecks,
    assert_same_model,
)
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_data_set
from tests.builders.once import make_once
from tests.builders.programs import poets, wait_until
from workers.settings import Settings

# Ten batches.
JOB = (*TINY_OPTIONS, "--batch-size", "8")


@dataclass(frozen=True)
class Undisturbed:
    """A finished run over `photos`, which nobody may change: their names are in its shards."""

    photos: Path
    storage: Path

    @property
    def model(self) -> Path:
        return self.storage / "runs" / "spring" / "model"

    def compare(self, storage: Path, run: str) -> None:
        """Assert that another run over the same photographs ended just so, with nothing lost."""
        assert_all_accounted(storage, run)
        assert_same_bottlenecks(storage, self.storage)
        assert_same_model(storage / "runs" / run / "model", self.model)
        assert [path for path in storage.rglob(".tmp-*") if path.parent.name == "runs"] == []


def run_undisturbed(photos: Path, storage: Path, backbones: Path, *job: object) -> None:
    """Train on `photos` as run "spring", with the stack that poets starts itself."""
    shutil.copytree(backbones, storage / "backbones")
    apart = {"POETS_STORAGE": str(storage), "POETS_CONFIG": os.devnull}
    shown = poets("submit-dataset", photos, *job, "--name", "spring", "--json", **apart)[0]
    assert json.loads(shown)["lost"] == 0
    stack = find_stack(Settings(storage))
    wait_until(lambda: stack.supervisor() is None)
    shutil.rmtree(stack.folder)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, converted) -> Undisturbed:
    """80 photographs of two labels, and the run that nothing happened to."""

    def make(folder: Path) -> None:
        make_data_set(folder / "photos", per_label=40)
        run_undisturbed(folder / "photos", folder / "storage", converted.root / "backbones", *JOB)

    folder = make_once(tmp_path_factory, "undisturbed", make)
    return Undisturbed(folder / "photos", folder / "storage")
