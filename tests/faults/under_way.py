"""A run that is slow enough for something to happen to it on its way."""

import pytest

from tests.builders.programs import wait_until
from tests.builders.traps import lay_trap
from tests.faults.undisturbed import JOB


@pytest.fixture
def slow(tmp_path):
    """The environment of a worker that takes a second for a batch, without computing."""
    place = "workers.bottlenecks.batches:complete_batch"
    return lay_trap(tmp_path / "slow", place, "time.sleep(1)", once=False)


def submit(rack, photos):
    return rack.poets("submit-dataset", photos, *JOB, "--name", "spring", "--json")


def shards(tmp_path):
    return len(list(tmp_path.glob("storage/bottlenecks/*/*/*.arrow")))


def until_busy(tmp_path):
    wait_until(lambda: shards(tmp_path) >= 2)


def until_more(tmp_path, before):
    wait_until(lambda: shards(tmp_path) > before)
