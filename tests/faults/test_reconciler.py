"""Row 5: the process that drives a run is killed at seven points of its loop."""

import os
import shutil
import signal

import pytest

from tests.builders.programs import wait_until
from tests.builders.traps import KILL, STOP, lay_trap
from tests.faults.rack import recovery, set_up_rack
from tests.faults.undisturbed import JOB
from workers.leases import Keys

pytestmark = pytest.mark.stack
SEND = "orchestrator.driving.broker:Broker.send"
BATCHES = "any(item.batch is not None for item in arguments[2])"
TRAINER = "any(item.key == 'train' for item in arguments[2])"
LOOK = "orchestrator.driving.driver:_Driver._see"
FINISH = "orchestrator.driving.result:finish_run"
POINTS = {
    "before the batches are sent": (SEND, "before", BATCHES, "resume"),
    "after the batches were sent": (SEND, "after", BATCHES, "coordinator"),
    "with reports taken and not used": (LOOK, "before", "arguments[0].stored.done", "resume"),
    "before the trainer is sent": (SEND, "before", TRAINER, "coordinator"),
    "while the trainer works": (
        LOOK,
        "after",
        "any(item.key == 'train' for item in result.alive)",
        "resume",
    ),
    "before the result is written": (FINISH, "before", "True", "coordinator"),
    "after the result was written": (FINISH, "after", "True", "resume"),
}


@pytest.fixture(scope="module")
def busy_rack(converted, tmp_path_factory):
    """A rack with a worker that outlives its drivers, as on other machines."""
    scratch = tmp_path_factory.mktemp("rack")
    shutil.copytree(converted.root / "backbones", scratch / "storage" / "backbones")
    with set_up_rack(scratch) as rack:
        # A fit of these few images would be over before anybody has seen it.
        slow = lay_trap(scratch / "slow", "workers.heads.fit:fit_head", "time.sleep(1)", once=False)
        rack.worker(POETS_STORAGE=str(scratch / "storage"), **slow)
        yield rack


@pytest.mark.parametrize("point", POINTS)
def test_the_next_one_goes_on_where_the_reconciler_was_killed(
    busy_rack, undisturbed, tmp_path, point
):
    name, storage = point.replace(" ", "-"), busy_rack.scratch / "storage"
    shutil.rmtree(storage / "bottlenecks", ignore_errors=True)
    place, when, only_if, next_one = POINTS[point]
    trap = lay_trap(tmp_path / "died", place, KILL, when, only_if)
    here = {"POETS_STORAGE": str(storage)}
    submit = ("submit-dataset", undisturbed.photos, *JOB, "--name", name)

    busy_rack.poets(*submit, **trap, **here).end(exit_code=-9)
    with recovery(f"a reconciler killed {point}; {next_one} goes on"):
        if next_one == "resume":
            busy_rack.poets("resume", name, **here).end()
        else:
            (storage / "runs" / name / "detached").touch()
            coordinator = busy_rack.poets("coordinator", **here)
            wait_until((storage / "runs" / name / "result.json").exists)
            coordinator.kill()

    assert busy_rack.client.get(Keys(name).fence("train")) == "1"
    undisturbed.compare(storage, name)


def test_a_reconciler_that_slept_past_its_turn_finds_the_work_of_the_next(
    busy_rack, undisturbed, tmp_path
):
    """Stopped when it was about to send; what it then sends is done already."""
    storage, marker = busy_rack.scratch / "storage", tmp_path / "stopped"
    shutil.rmtree(storage / "bottlenecks", ignore_errors=True)
    here = {"POETS_STORAGE": str(storage)}
    submit = ("submit-dataset", undisturbed.photos, *JOB, "--name", "slept", "--json")
    sleeper = busy_rack.poets(*submit, **lay_trap(marker, SEND, STOP, "before", BATCHES), **here)
    wait_until(marker.exists)
    watched = busy_rack.poets("resume", "slept", "--json", **here).result()
    [model] = (storage / "runs" / "slept").glob("model")
    committed = model.stat().st_ino

    os.kill(sleeper.pid, signal.SIGCONT)

    assert sleeper.result()["test_accuracy"] == watched["test_accuracy"]
    wait_until(lambda: not busy_rack.client.llen("bottleneck"))
    assert model.stat().st_ino == committed
    undisturbed.compare(storage, "slept")
