"""Every end-to-end test leaves no process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.programs import our_processes, poets, wait_until
from tests.made import make_data_set


@pytest.fixture(autouse=True)
def _no_orphans(runtime: str) -> Iterator[None]:
    yield
    if our_processes(runtime):
        try:
            wait_until(lambda: not our_processes(runtime), 25)
        finally:
            poets("down")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two labels, 40 pictures each."""
    return make_data_set(tmp_path / "photos", per_label=40)


TINY = ("--architecture", "mobilenet_0.25_128", "--weights", "random-0")
