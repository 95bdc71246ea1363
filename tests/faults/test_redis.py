"""Redis that is killed, emptied, away, or full, in the middle of a run."""

import json
import os
import time
from pathlib import Path

import pytest

from orchestrator.embedded import find_stack
from tests.faults.rack import FORGETFUL, children_of, cpu_seconds, recovery
from tests.faults.traps import lay_trap
from tests.faults.undisturbed import JOB
from tests.programs import kill, start, wait_until
from workers.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
# Two minutes in earnest; Celery's pauses between its attempts grow to half a minute.
AWAY_S = float(os.environ.get("FAULTS_AWAY_S", "15"))


@pytest.fixture
def slow(tmp_path):
    """The environment of a worker that takes a second for a batch, without computing."""
    place = "workers.bottlenecks:complete_batch"
    return lay_trap(tmp_path / "slow", place, "time.sleep(1)", once=False)


def submit(rack, photos):
    return rack.poets("submit-dataset", photos, *JOB, "--name", "spring", "--json")


def shards(tmp_path):
    return len(list(tmp_path.glob("storage/bottlenecks/*/*/*.arrow")))


def until_busy(tmp_path):
    wait_until(lambda: shards(tmp_path) >= 2)


def until_more(tmp_path, before):
    wait_until(lambda: shards(tmp_path) > before)


def cpu_shares(pids, seconds):
    """Return the share of a core that each process takes in so many seconds."""
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {name: (cpu_seconds(pid) - before[name]) / seconds for name, pid in pids.items()}


def test_a_server_that_is_killed_and_has_its_file_goes_on(rack, undisturbed, tmp_path, slow):
    """Row 10. The workers connect again and take what waits."""
    rack.worker(**slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)
    sent = int(rack.client.get("poets:sent"))

    rack.kill_server()
    before = shards(tmp_path)
    rack.start_server()
    assert int(rack.client.get("poets:sent")) == sent
    with recovery("a server that was killed, with AOF"):
        # One that is under way needs no server to end.
        until_more(tmp_path, before + 1)
    result = driver.result()

    assert (result["computed"], result["lost"]) == (80, 0)
    assert "has forgotten" not in driver.said()
    undisturbed.compare(tmp_path / "storage", "spring")


def test_the_embedded_server_is_started_again(undisturbed, tmp_path, slow):
    """Row 10, with the supervisor, which keeps the append-only file."""
    job = ("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")
    process = start(*job, **slow)
    until_busy(tmp_path)

    with recovery("the embedded server killed"):
        [server] = filter(is_server, children_of(find_stack(load_settings()).supervisor()))
        kill(server)
        until_more(tmp_path, shards(tmp_path) + 2)
    out, err = process.communicate(timeout=120)

    assert json.loads(out)["lost"] == 0
    assert "has forgotten" not in err
    undisturbed.compare(tmp_path / "storage", "spring")


def is_server(pid):
    return b"unixsocket" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("how", ["SIGKILL", "FLUSHALL"])
def test_a_server_that_forgets_everything_is_filled_again_from_storage(
    rack, undisturbed, tmp_path, slow, how
):
    """Row 11. With a warning."""
    rack.kill_server()
    rack.options = FORGETFUL
    rack.start_server()
    rack.worker(**slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)

    before = shards(tmp_path)
    with recovery(f"a server that lost all by {how}"):
        if how == "FLUSHALL":
            rack.client.flushall()
        else:
            rack.kill_server()
            rack.start_server()
        until_more(tmp_path, before + 1)
    result = driver.result()

    assert (result["computed"], result["lost"]) == (80, 0)
    assert "the broker has forgotten what it knew of run spring" in driver.said()
    undisturbed.compare(tmp_path / "storage", "spring")


def test_while_the_server_is_away_everybody_waits_without_work(rack, undisturbed, tmp_path, slow):
    """Row 12. Under 5 % of a core each, and the command says that it waits."""
    worker = rack.worker(concurrency=2, **slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)
    rack.kill_server()
    wait_until(lambda: "waiting for the broker" in driver.said())
    time.sleep(2)

    watched = {"worker": worker.pid, "driver": driver.pid}
    watched |= {f"child {pid}": pid for pid in children_of(worker.pid)}
    assert len(watched) == 4
    shares = cpu_shares(watched, AWAY_S)
    rack.start_server()
    done = shards(tmp_path)
    with recovery(f"a server that was away for {AWAY_S + 2:.0f} s"):
        until_more(tmp_path, done)
    result = driver.result()

    assert {name: share for name, share in shares.items() if share > 0.05} == {}
    assert (result["computed"], result["lost"]) == (80, 0)
    undisturbed.compare(tmp_path / "storage", "spring")


def test_a_server_that_is_full_is_waited_for(rack, undisturbed, tmp_path, slow):
    """Row 13. It refuses what it is sent (noeviction) until there is room again."""
    worker = rack.worker(**slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)
    rack.client.config_set("maxmemory", 1)

    wait_until(lambda: "waiting for the broker, which is full" in driver.said())
    wait_until(lambda: "The broker is full; waiting for room." in worker.said())
    shares = cpu_shares({"worker": worker.pid, "driver": driver.pid}, 8)
    done = shards(tmp_path)
    rack.client.config_set("maxmemory", 0)
    with recovery("a server that was full"):
        until_more(tmp_path, done)
    result = driver.result()

    assert {name: share for name, share in shares.items() if share > 0.05} == {}
    assert worker.process.poll() is None
    assert (result["computed"], result["lost"]) == (80, 0)
    undisturbed.compare(tmp_path / "storage", "spring")
