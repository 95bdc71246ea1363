"""Looks at the queues: one for all runs of a process, counted by the server."""

import shutil
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orchestrator.driving import coordinator, driver
from orchestrator.driving.broker import open_broker
from orchestrator.driving.coordinator import coordinate
from orchestrator.driving.driver import drive_run
from orchestrator.driving.reconcile import WINDOW
from tests.builders.backbones import BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.programs import invoke, wait_until
from tests.builders.runs import make_plan, make_run
from workers.items import Item
from workers.leases import Keys, connect
from workers.settings import load_settings
from workers.storage.manifest import PlannedImage, write_manifest
from workers.storage.plan import LabellingOptions, Run

_JOBS, _BATCHES = 12, 100


@pytest.fixture
def jobs(storage, tmp_path):
    """Plan detached jobs of many batches, which nobody works on."""
    options = LabellingOptions("spring", str(tmp_path / "labels.csv"), "csv", 2)
    image = PlannedImage("a.jpg", 1, 1, None, None, "ab" * 16)
    plan = make_plan(images=_BATCHES, batches=_BATCHES, batch_size=1, labelling=options)
    storage.backbone(BACKBONE_ID).mkdir(parents=True)
    (storage.backbone(BACKBONE_ID) / "backbone.json").touch()
    write_manifest(tmp_path / "manifest.parquet", [(image,)] * _BATCHES)
    for number in range(_JOBS):
        folder = storage.run(f"job-{number}")
        folder.path.mkdir(parents=True)
        shutil.copy(tmp_path / "manifest.parquet", folder.manifest)
        folder.plan.write_bytes(replace(plan, name=folder.name).to_json())
        folder.detached.touch()
    return [Run.open(storage, f"job-{number}") for number in range(_JOBS)]


def calls(broker_url, *commands):
    """Return how often the server was asked for each of these commands."""
    stats = connect(broker_url).info("commandstats")
    return [stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in commands]


def test_all_threads_get_one_look(broker_url):
    broker = open_broker(load_settings(), shared_for_s=3600)
    broker.send("spring", [Item.of_batch(3)], "label")
    before, found = calls(broker_url, "lrange"), []

    threads = [
        threading.Thread(target=lambda: found.append(broker.queues.look())) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [traffic.of("spring") for traffic in found] == [{Item.of_batch(3)}] * 20
    assert calls(broker_url, "lrange")[0] - before[0] == 3


def test_what_this_process_has_sent_is_seen_at_once(broker_url):
    broker = open_broker(load_settings(), shared_for_s=3600)
    assert broker.queues.look().rivals("autumn") == 0

    broker.send("spring", [Item.of_batch(3)], "label")

    assert broker.queues.look().of("spring") == {Item.of_batch(3)}
    assert broker.queues.look().rivals("autumn") == 1


def test_many_jobs_of_a_coordinator_cost_one_look_at_short_queues(jobs, broker_url):
    stop, since = threading.Event(), time.monotonic()
    [before] = calls(broker_url, "lrange")
    thread = threading.Thread(target=coordinate, args=(load_settings(), stop))
    thread.start()
    try:
        # Each look of a driver takes reports once.
        wait_until(lambda: calls(broker_url, "lpop")[0] >= 8 * _JOBS)
        [reads] = calls(broker_url, "lrange")
        elapsed_s = time.monotonic() - since
        waiting = connect(broker_url).llen("infer")
    finally:
        for job in jobs:
            job.folder.cancelled.touch()
        wait_until(lambda: not list(connect(broker_url).scan_iter("poets:*:reconciler")))
        stop.set()
        thread.join()

    assert (reads - before) / 3 <= elapsed_s / coordinator._SHARED_FOR_S + 1
    # The first jobs may have been alone, and not every look is later than all that was sent.
    assert _JOBS <= waiting <= WINDOW * _JOBS / 2
    assert {job.folder.result.exists() for job in jobs} == {False}


def test_a_health_check_of_the_coordinator_asks_the_broker_once(broker_url):
    before = connect(broker_url).info("stats")["total_commands_processed"]
    down = invoke("coordinator", "--check", "--broker-url", broker_url)
    asked = connect(broker_url).info("stats")["total_commands_processed"] - before
    connect(broker_url).set(coordinator.ALIVE_KEY, 1, ex=10)

    up = invoke("coordinator", "--check", "--broker-url", broker_url)

    assert (down.exit_code, up.exit_code) == (1, 0)
    assert (down.stdout, up.stdout) == ("No coordinator is up.\n", "A coordinator is up.\n")
    # What a connection says of itself comes on top.
    assert asked <= 8
    assert calls(broker_url, "exists")[0] >= 2


def test_a_driver_looks_less_often_the_longer_nothing_happens(
    ready_storage, tmp_path, broker_url, monkeypatch
):
    run = make_run(ready_storage, make_data_set(tmp_path / "photos"))
    slept, now = [], [1000.0]

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds
        if now[0] > 1060 and not happened:
            happened.append(len(slept))
            connect(broker_url).hset(Keys(run.name).failed_attempts, "0", "disk full")
        if happened and len(slept) > happened[0] + 3:
            run.folder.cancelled.touch()

    happened = []
    monkeypatch.setattr(driver, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    with pytest.raises(Exception, match="was cancelled"):
        drive_run(run, open_broker(load_settings()), lambda _: None)

    assert len(slept) < 100
    assert slept[0] == driver.TICK_S
    assert max(slept) == driver._LONGEST_TICK_S
    assert slept[happened[0]] == driver.TICK_S
