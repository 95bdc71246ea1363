"""Every end-to-end test leaves no process behind; some share a run on real photographs."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders.once import make_once
from tests.builders.programs import poets_json, set_settings_of_nobody
from tests.builders.stack import no_orphans, photos, runtime
from workers.storage.layout import Storage

__all__ = ["no_orphans", "photos", "runtime"]


@dataclass(frozen=True)
class Trained:
    """A run on the 925 flowers with pretrained weights.

    Attributes:
        result: What ``submit-dataset --json`` printed.
        weights_dirs: Where the weights were found.
    """

    storage: Storage
    result: dict
    weights_dirs: tuple[Path, ...]


@pytest.fixture(scope="session")
def flowers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run on real photographs: the bottlenecks are computed once for all tests."""
    weights_dirs = (data / "weights" / "from_8bit_graph", data / "weights")

    def submit(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            set_settings_of_nobody(monkeypatch, folder)
            monkeypatch.setenv("POETS_WEIGHTS_DIR", ":".join(map(str, weights_dirs)))
            architecture = ("--architecture", "mobilenet_0.50_224")
            result = poets_json("submit-dataset", data / "flowers", *architecture)
        (folder / "result.json").write_text(json.dumps(result))

    folder = make_once(tmp_path_factory, "flowers", submit)
    result = json.loads((folder / "result.json").read_text())
    return Trained(Storage(folder / "storage"), result, weights_dirs)
