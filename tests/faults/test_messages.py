"""Messages that vanish, come twice, or outlive the work that they asked for."""

import pytest

from tests.builders.programs import wait_until
from tests.builders.traps import CALL_AGAIN, KILL, KILL_THE_WORKER, lay_trap
from tests.faults.rack import recovery
from tests.faults.undisturbed import JOB
from workers import app as application
from workers.app import make_app
from workers.errors import SettingsError
from workers.leases import Keys
from workers.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
KEYS = Keys("spring")


def submit(rack, photos, **environment):
    return rack.poets("submit-dataset", photos, *JOB, "--name", "spring", "--json", **environment)


def test_messages_that_vanish_with_the_worker_that_took_them_are_sent_again(
    rack, undisturbed, tmp_path
):
    """Row 3. A worker that dies between BRPOP and noting the message as unacked loses it."""
    driver = submit(rack, undisturbed.photos)
    wait_until(lambda: rack.client.llen("bottleneck") == 10)
    with recovery("a message that vanished"):
        for _ in range(10):
            rack.client.brpop(["bottleneck"])
        wait_until(lambda: rack.client.llen("bottleneck") == 10)
    rack.worker(queues="bottleneck")
    wait_until(lambda: rack.client.llen("train") == 1)
    rack.client.brpop(["train"])
    rack.worker(queues="train")

    result = driver.result()

    assert (result["computed"], result["lost"]) == (80, 0)
    assert rack.client.get(KEYS.fence("train")) == "1"
    undisturbed.compare(tmp_path / "storage", "spring")


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_a_batch_that_was_committed_and_never_acknowledged_is_counted_once(
    rack, undisturbed, tmp_path, victim
):
    """Row 4. The process dies when the shard is there, before it has said so."""
    act = KILL if victim == "child" else KILL_THE_WORKER
    marker = tmp_path / "died"
    worker = rack.worker(**lay_trap(marker, "workers.leases:report_done", act))
    driver = submit(rack, undisturbed.photos)
    wait_until(marker.exists)
    [committed] = (tmp_path / "storage").glob("bottlenecks/*/*/*.arrow")
    before = committed.stat()
    with recovery(f"a {victim} that died before it acknowledged"):
        if victim == "worker":
            worker.process.wait()
            rack.worker()
        result = driver.result()

    assert (result["computed"], result["quarantined"], result["lost"]) == (80, 0, 0)
    assert committed.stat().st_ino == before.st_ino
    undisturbed.compare(tmp_path / "storage", "spring")


def test_every_message_delivered_twice_changes_nothing(rack, undisturbed, tmp_path):
    """Row 8. Two at a time work on the same item, the trainer too."""
    twice = lay_trap(
        tmp_path / "twice", "orchestrator.driving.broker:Broker.send", CALL_AGAIN, once=False
    )
    rack.worker(concurrency=2)

    result = submit(rack, undisturbed.photos, **twice).result()

    assert (result["computed"], result["quarantined"], result["lost"]) == (80, 0, 0)
    assert int(rack.client.get("poets:sent")) == 22
    assert int(rack.client.get(KEYS.fence("train"))) == 2
    undisturbed.compare(tmp_path / "storage", "spring")


@pytest.mark.parametrize(
    ("limit", "value"),
    [("SOFT_LIMIT_S", 1800), ("HARD_LIMIT_S", 3600), ("VISIBILITY_TIMEOUT_S", 1800)],
)
def test_a_message_that_would_come_again_before_its_task_ends_is_refused_at_start(
    tmp_path, monkeypatch, limit, value
):
    """Row 9. A visibility timeout shorter than a task may take starts it again, for ever."""
    monkeypatch.setattr(application, limit, value)

    with pytest.raises(SettingsError, match="must end before its message becomes visible again"):
        make_app(Settings(tmp_path))
