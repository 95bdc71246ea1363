"""Messages that vanish, come twice, or outlive the work that they asked for."""

import zlib

import pytest

from tests.builders.envelopes import envelope
from tests.builders.programs import wait_until
from tests.builders.traps import CALL_AGAIN, KILL, KILL_THE_WORKER, lay_trap
from tests.faults.rack import recovery
from tests.faults.small import SMALL
from tests.faults.undisturbed import JOB
from workers import app as application
from workers.app import make_app
from workers.errors import SettingsError
from workers.leases import SENT, SHARED_TYPES, UNACKED, Keys
from workers.messages import BODY_BYTES
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


def test_messages_that_would_fill_the_memory_are_refused_before_they_are_decoded(
    rack, few, tmp_path
):
    """A megabyte that unpacks to a gigabyte took a worker to three."""
    zeros = b"[" + b" " * 1_000_000 + b"]"
    headers = {"lang": "py", "task": "poets.compute_batch", "id": "stranger:0:1"}
    packed = {**headers, "compression": "application/x-gzip"}
    worker = rack.worker()
    rack.client.lpush("bottleneck", envelope(zlib.compress(zeros), packed))
    rack.client.lpush("bottleneck", envelope(b"[" + b" " * 2 * BODY_BYTES + b"]", headers))
    rack.client.lpush("bottleneck", envelope(b"[]", headers))
    rack.client.lpush("bottleneck", envelope(zeros, headers))
    rack.client.lpush("bottleneck", "no JSON", '{"body": 1}', "[[" * 100_000)

    result = rack.poets("submit-dataset", few, *SMALL, "--json").result()

    assert result["lost"] == 0
    said = worker.said()
    for reason in ("it is compressed", "it is no JSON object", "its body is not that of a task"):
        assert f"a message was refused: {reason}" in said
    assert not rack.client.hlen(UNACKED)


def test_what_cannot_be_read_among_the_messages_under_way_is_removed(rack, few):
    """It ended every worker each three seconds."""
    for number, text in enumerate(["no JSON", "[1]", "[[], 2, 3]", '"x"', "[" * 100_000]):
        rack.client.hset(UNACKED, f"stranger-{number}", text)
        rack.client.zadd(f"{UNACKED}_index", {f"stranger-{number}": 1})
    worker = rack.worker()

    result = rack.poets("submit-dataset", few, *SMALL, "--json").result()

    assert result["lost"] == 0
    wait_until(lambda: not rack.client.zcard(f"{UNACKED}_index"))
    assert not rack.client.hlen(UNACKED)
    assert worker.said().count("names among the messages under way is none") == 5


def test_hints_that_poets_did_not_write_are_skipped(rack, few):
    """A text among the reports ended the driver, and each resume of it."""
    client = rack.client
    client.rpush(KEYS.done, "no JSON", "[1]", '{"a": 2}', "[" * 100_000, "[0, -99]", "[-1, 5]")
    client.hset(KEYS.starts, mapping={"0": "often", "train": "9" * 5000, "x": "1", "1": "-1"})
    client.hset(KEYS.failed_attempts, mapping={"x": "\x1b[2J", "../../x": "y"})
    client.set(KEYS.driver_lock, "mine")
    client.set(KEYS.fence("0"), "the highest")
    client.set(SENT, "many")
    rack.worker()

    driver = rack.poets("submit-dataset", few, *SMALL, "--name", "spring", "--json")

    result = driver.result()
    assert (result["computed"], result["quarantined"], result["lost"]) == (24, 0, 0)
    for said in ("is no report", "counts nothing for 0", "was no lock", "is no number"):
        assert said in driver.said()


def test_keys_of_another_type_are_removed_with_a_warning(rack, few):
    """They stopped every worker and every command, forever."""
    types = SHARED_TYPES | KEYS.types
    for key, kind in types.items():
        if kind == "hash":
            rack.client.set(key, "x")
        else:
            rack.client.hset(key, "x", "y")
    worker = rack.worker()
    wait_until(lambda: rack.client.type(UNACKED) in ("none", "hash"))

    driver = rack.poets("submit-dataset", few, *SMALL, "--name", "spring", "--json")

    assert driver.result()["lost"] == 0
    assert worker.process.poll() is None
    said = worker.said() + driver.said()
    assert "was no lock of poets" in said
    for key in set(types) - {KEYS.driver_lock}:
        assert f"the broker's key {key!r} was a" in said


@pytest.mark.parametrize(
    ("limit", "value"),
    [("SOFT_LIMIT_S", 1800), ("HARD_LIMIT_S", 3600), ("VISIBILITY_TIMEOUT_S", 1800)],
)
def test_a_message_that_would_come_again_before_its_task_ends_is_refused_at_start(
    tmp_path, monkeypatch, limit, value
):
    """Row 9. A visibility timeout shorter than a task may take starts it again, forever."""
    monkeypatch.setattr(application, limit, value)

    with pytest.raises(SettingsError, match="must end before its message becomes visible again"):
        make_app(Settings(tmp_path))
