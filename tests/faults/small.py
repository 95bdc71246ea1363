"""A data set of three small batches, and what it gives when nothing goes wrong."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_data_set
from tests.builders.programs import poets_json
from workers.settings import Settings
from workers.storage.layout import Storage

# Three batches of the data set `few`.
SMALL = (*TINY_OPTIONS, "--batch-size", "8")


@dataclass(frozen=True)
class Undisturbed:
    """A run over the data set `few` that nothing happened to."""

    storage: Path
    result: dict[str, Any]

    @property
    def model(self) -> Path:
        return Path(self.result["model"])


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Two labels, 12 pictures each."""
    return make_data_set(tmp_path / "photos")


@pytest.fixture(scope="session")
def undisturbed_few(converted: Storage, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The same pictures in another place, so only the bottlenecks' names differ."""
    folder = tmp_path_factory.mktemp("undisturbed_few")
    shutil.copytree(converted.root / "backbones", folder / "storage" / "backbones")
    photos = make_data_set(folder / "photos")
    result = poets_json("submit-dataset", photos, *SMALL, POETS_STORAGE=str(folder / "storage"))
    shutil.rmtree(find_stack(Settings(folder / "storage")).folder)
    return Undisturbed(folder / "storage", result)
