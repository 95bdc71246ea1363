"""Fixtures of tests that start the embedded stack: a test leaves no process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.datasets import make_data_set
from tests.builders.programs import our_processes, poets, wait_until
from workers.settings import load_settings


@pytest.fixture
def runtime() -> str:
    """The folder of this test's embedded stack."""
    return str(find_stack(load_settings()).folder)


@pytest.fixture(autouse=True)
def no_orphans(_settings_of_nobody: None, runtime: str) -> Iterator[None]:
    """Fail when a process of the stack outlives the test."""
    yield
    try:
        wait_until(lambda: not our_processes(runtime))
    except AssertionError:
        poets("down")
        raise


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two labels, 40 pictures each."""
    return make_data_set(tmp_path / "photos", per_label=40)
