"""Which runs the coordinator takes up, and when."""

import math

import pytest

from orchestrator.driving.broker import open_broker
from orchestrator.driving.coordinator import _open_runs
from orchestrator.runs import cancel_run, reopen_run
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.leases import Keys
from workers.settings import load_settings


@pytest.fixture
def run(storage, tmp_path, broker_url):
    run = make_run(storage, make_data_set(tmp_path / "photos"))
    run.detached.touch()
    return run


def open_runs(storage, retry_at):
    return _open_runs(storage, open_broker(load_settings()), retry_at)


def test_a_detached_run_is_taken_up_at_once(storage, run):
    assert open_runs(storage, {}) == ["run"]


def test_a_run_that_somebody_drives_is_left_alone(storage, run):
    open_broker(load_settings()).client.set(Keys("run").driver_lock, 1)

    assert open_runs(storage, {}) == []


def test_a_run_that_could_not_go_on_waits(storage, run):
    assert open_runs(storage, {"run": math.inf}) == []


@pytest.mark.parametrize("stop", ["cancel", "pause"])
def test_a_run_that_was_stopped_and_resumed_does_not_wait(storage, run, stop):
    retry_at = {"run": math.inf}
    if stop == "cancel":
        cancel_run(storage, "run")
    else:
        run.paused.touch()

    while_stopped = open_runs(storage, retry_at)
    reopen_run(storage, "run")

    assert while_stopped == []
    assert open_runs(storage, retry_at) == ["run"]
