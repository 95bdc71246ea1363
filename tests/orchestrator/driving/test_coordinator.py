"""Which runs the coordinator takes up, and when."""

import io
import math
import os
import shutil

import pytest

from orchestrator.driving import coordinator
from orchestrator.driving.broker import open_broker
from orchestrator.driving.coordinator import UnfinishedRuns, undriven_runs
from orchestrator.runs import cancel_run, reopen_run
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.leases import Keys
from workers.settings import load_settings


@pytest.fixture
def run(storage, tmp_path, broker_url):
    run = make_run(storage, make_data_set(tmp_path / "photos"))
    run.folder.detached.touch()
    return run


@pytest.fixture
def due(storage):
    """Return the runs that are due at this moment, as one and the same coordinator finds them."""
    unfinished = UnfinishedRuns(storage)

    def find(retry_at):
        return undriven_runs(unfinished, open_broker(load_settings()), retry_at)

    return find


def test_a_detached_run_is_taken_up_at_once(run, due):
    assert due({}) == ["run"]


def test_a_run_that_somebody_drives_is_left_alone(run, due):
    open_broker(load_settings()).client.set(Keys("run").driver_lock, 1, ex=15)

    assert due({}) == []


def test_the_coordinator_of_the_embedded_stack_leaves_a_run_that_was_abandoned(storage, run):
    """Its command was killed; another command that needs a coordinator says nothing about it."""
    run.folder.detached.unlink()
    os.utime(run.folder.plan, (1, 1))
    broker = open_broker(load_settings())

    def due(**options):
        return undriven_runs(UnfinishedRuns(storage), broker, {}, **options)

    assert due() == ["run"]
    assert due(only_detached=True) == []
    run.folder.detached.touch()
    assert due(only_detached=True) == ["run"]


def test_a_run_that_could_not_go_on_waits(run, due):
    assert due({"run": math.inf}) == []


@pytest.mark.parametrize("stop", ["cancel", "pause"])
def test_a_run_that_was_stopped_and_resumed_does_not_wait(storage, run, due, stop):
    retry_at = {"run": math.inf}
    if stop == "cancel":
        cancel_run(run)
    else:
        run.folder.paused.touch()

    while_stopped = due(retry_at)
    reopen_run(run)

    assert while_stopped == []
    assert due(retry_at) == ["run"]


@pytest.fixture
def asked(storage, monkeypatch):
    """Collect the paths of the storage whose content or properties are asked for."""
    paths = []

    def watch(module, name):
        function = getattr(module, name)

        def watched(path, *arguments, **options):
            if str(path).startswith(str(storage.root)):
                paths.append(str(path))
            return function(path, *arguments, **options)

        monkeypatch.setattr(module, name, watched)

    watch(os, "stat")
    watch(os, "scandir")
    watch(io, "open")
    return paths


def test_runs_that_have_ended_cost_nothing_while_the_storage_rests(
    storage, run, due, asked, monkeypatch
):
    monkeypatch.setattr(coordinator, "_SAME_TIME_S", 0)
    for number in range(50):
        shutil.copytree(run.folder.path, storage.runs / f"ended-{number}")
        (storage.runs / f"ended-{number}" / "result.json").touch()
    due({})
    of_all = [path for path in asked if "ended-" in path]
    asked.clear()

    assert due({}) == ["run"]
    assert len(of_all) >= 50
    assert [path for path in asked if "ended-" in path] == []
    assert asked.count(str(storage.runs)) == 1
    assert len(asked) < 10


def test_a_change_of_the_folder_of_runs_shows_a_new_one(storage, run, due, monkeypatch):
    monkeypatch.setattr(coordinator, "_SAME_TIME_S", 0)
    due({})

    shutil.copytree(run.folder.path, storage.runs / "second")
    os.utime(storage.runs, (1, 1))

    assert due({}) == ["run", "second"]


def test_a_storage_whose_folders_keep_no_time_is_listed_now_and_then(
    storage, run, due, monkeypatch
):
    monkeypatch.setattr(coordinator, "_SAME_TIME_S", 0)
    os.utime(storage.runs, (1, 1))
    due({})
    shutil.copytree(run.folder.path, storage.runs / "second")
    os.utime(storage.runs, (1, 1))

    assert due({}) == ["run"]
    monkeypatch.setattr(coordinator, "_LIST_EVERY_S", 0)
    assert due({}) == ["run", "second"]


def test_without_runs_there_is_nothing_to_do(storage, broker_url, due):
    assert due({}) == []
