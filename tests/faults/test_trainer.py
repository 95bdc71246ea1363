"""Trainers that die, or sleep past their lease: several attempts, one model."""

import os
import signal

import pytest

from tests.builders.programs import wait_until
from tests.builders.traps import KILL, STOP, lay_trap
from tests.faults.rack import recovery
from tests.faults.undisturbed import JOB
from workers.leases import Keys

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
KEYS = Keys("spring")
FIT, SAVE = "workers.heads.fit:fit_head", "workers.heads.model_folder:save_model"


@pytest.fixture
def submitted(rack, undisturbed):
    return rack.poets("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")


@pytest.mark.parametrize("place", [FIT, SAVE])
def test_a_trainer_that_is_killed_is_sent_once_more(rack, undisturbed, submitted, tmp_path, place):
    """Row 6. Its message was acknowledged, so only the end of its lease tells."""
    marker = tmp_path / "died"
    rack.worker(**lay_trap(marker, place, KILL))
    wait_until(marker.exists)

    with recovery("a trainer that was killed"):
        result = submitted.result()

    assert result["lost"] == 0
    assert rack.client.get(KEYS.fence("train")) == "2"
    undisturbed.compare(tmp_path / "storage", "spring")


@pytest.mark.parametrize("place", [FIT, SAVE])
def test_a_trainer_that_slept_past_its_lease_cannot_commit(
    rack, undisturbed, submitted, tmp_path, place
):
    """Row 7. Before its last check the fencing token stops it, after it create-if-absent."""
    marker, model = tmp_path / "stopped", tmp_path / "storage" / "runs" / "spring" / "model"
    rack.worker(concurrency=2, **lay_trap(marker, place, STOP))
    wait_until(marker.exists)
    with recovery("a trainer that was stopped (SIGSTOP)"):
        submitted.result()
    committed = model.stat().st_ino, (model / "model.json").read_bytes()

    rack.client.hset(KEYS.failed_attempts, "train", "not heard of yet")
    os.kill(int(marker.read_text()), signal.SIGCONT)
    # Refused by the token, it reports that; else it ends as if it had committed.
    end = "train of run spring was taken over." if place == FIT else None
    wait_until(lambda: rack.client.hget(KEYS.failed_attempts, "train") == end)

    assert (model.stat().st_ino, (model / "model.json").read_bytes()) == committed
    assert list(model.parent.glob(".tmp-*")) == []
    undisturbed.compare(tmp_path / "storage", "spring")
