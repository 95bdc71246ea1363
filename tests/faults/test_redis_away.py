"""Redis that is away for long, or full, in the middle of a run: everybody waits for it."""

import os
import time

import pytest

from tests.builders.programs import wait_until
from tests.faults.rack import children_of, cpu_seconds, recovery
from tests.faults.under_way import shards, submit, until_busy, until_more

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
# Two minutes in earnest; Celery's pauses between its attempts grow to half a minute.
AWAY_S = float(os.environ.get("FAULTS_AWAY_S", "15"))


def wait_until_idle(pids, seconds):
    """Wait until each process takes under 5 % of a core for that many seconds.

    What was under way when the server went away may first come to its end.
    """

    def are_idle():
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        shares = {name: (cpu_seconds(pid) - before[name]) / seconds for name, pid in pids.items()}
        print("shares of a core:", shares)
        return max(shares.values()) < 0.05

    wait_until(are_idle)


def test_while_the_server_is_away_everybody_waits_without_work(rack, undisturbed, tmp_path, slow):
    """Row 12. Under 5 % of a core each, and the command says that it waits."""
    worker = rack.worker(concurrency=2, **slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)
    rack.kill_server()
    wait_until(lambda: "waiting for the broker" in driver.said())

    watched = {"worker": worker.pid, "driver": driver.pid}
    watched |= {f"child {pid}": pid for pid in children_of(worker.pid)}
    assert len(watched) == 4
    wait_until_idle(watched, AWAY_S)
    rack.start_server()
    done = shards(tmp_path)
    with recovery(f"a server that was away for {AWAY_S:.0f} s"):
        until_more(tmp_path, done)
    result = driver.result()

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
    wait_until_idle({"worker": worker.pid, "driver": driver.pid}, 8)
    done = shards(tmp_path)
    rack.client.config_set("maxmemory", 0)
    with recovery("a server that was full"):
        until_more(tmp_path, done)
    result = driver.result()

    assert worker.process.poll() is None
    assert (result["computed"], result["lost"]) == (80, 0)
    undisturbed.compare(tmp_path / "storage", "spring")
