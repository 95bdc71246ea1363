"""Every test of a fault starts from a real backbone and leaves no process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.stack import no_orphans, photos, runtime
from tests.faults.rack import Rack, set_up_rack
from tests.faults.small import few, undisturbed_few
from tests.faults.under_way import slow
from tests.faults.undisturbed import undisturbed
from workers.storage.layout import Storage

__all__ = ["few", "no_orphans", "photos", "runtime", "slow", "undisturbed", "undisturbed_few"]


@pytest.fixture
def ready_storage(real_storage: Storage) -> Storage:
    """A storage with a backbone that takes as long as one in earnest."""
    return real_storage


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rack]:
    """A server of this test alone, with an append-only file, and what is started beside it."""
    with set_up_rack(tmp_path) as rack:
        monkeypatch.setenv("POETS_BROKER_URL", rack.url)
        yield rack
