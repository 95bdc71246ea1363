"""How a run is: what is said of it is true."""

import json
import os
import time
from dataclasses import replace

import pytest

from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.driving.result import to_dict
from orchestrator.driving.who_drives import Drivers, Situation, find_situation
from orchestrator.runs import state_of
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_result, make_run
from workers.errors import RunError
from workers.leases import Keys, connect
from workers.settings import load_settings
from workers.storage.plan import TrainingOptions


@pytest.fixture
def run(storage, tmp_path):
    """A run that was planned an hour ago."""
    return planned(storage, tmp_path, "spring")


def planned(storage, tmp_path, name, options=None):
    photos = tmp_path / "photos"
    run = make_run(storage, photos if photos.exists() else make_data_set(photos), name, 8, options)
    an_hour_ago = time.time() - 3600
    os.utime(run.folder.plan, (an_hour_ago, an_hour_ago))
    return run


def stands(run):
    state = state_of(load_settings(), run)
    return state.state, state.situation


def test_a_run_that_somebody_drives_is_running(run, broker_url):
    connect(broker_url).set(Keys("spring").driver_lock, "token")

    assert stands(run) == ("running", Situation.DRIVEN)


def test_a_run_whose_driver_has_died_is_stalled_and_says_what_to_do(run, broker_url):
    expected = ("stalled", Situation.ABANDONED)

    assert stands(run) == expected
    # That of another run is nothing to it.
    connect(broker_url).set(Keys("other").driver_lock, "token")
    assert stands(run) == expected


def test_with_the_embedded_stack_down_nobody_drives(run):
    assert stands(run)[0] == "stalled"


def test_a_command_that_is_just_starting_is_not_taken_for_dead(run):
    os.utime(run.folder.plan)

    assert stands(run) == ("running", Situation.STARTING)


def test_a_broker_that_is_away_leaves_the_state_unknown(run, tmp_path, monkeypatch):
    monkeypatch.setenv("POETS_BROKER_URL", f"redis+socket://{tmp_path}/nobody?virtual_host=0")

    assert stands(run) == ("unknown", Situation.UNKNOWN)
    run.folder.paused.touch()
    assert stands(run) == ("stopped", Situation.STOPPED)


def test_a_coordinator_takes_up_what_nobody_drives(run, broker_url):
    connect(broker_url).set(ALIVE_KEY, 1)

    assert stands(run) == ("running", Situation.AWAITS_COORDINATOR)
    run.folder.paused.touch()
    assert stands(run)[0] == "stopped"


def test_the_embedded_coordinator_takes_up_detached_runs_only(run):
    embedded = Drivers(has_coordinator=True, only_detached=True)

    assert find_situation(embedded, run, has_trouble=False) is Situation.ABANDONED
    assert find_situation(embedded, run, has_trouble=True) is Situation.STOPPED
    run.folder.detached.touch()
    assert find_situation(embedded, run, has_trouble=False) is Situation.DRIVEN


def test_a_detached_run_without_a_coordinator_is_stalled(run, broker_url):
    run.folder.detached.touch()

    assert stands(run) == ("stalled", Situation.NO_COORDINATOR)


@pytest.mark.parametrize("sweep", ["best", None])
def test_a_trial_waits_for_its_siblings(storage, tmp_path, broker_url, sweep):
    """Also one that was planned before plans named their sweep."""
    options = TrainingOptions(evaluate_test=False)
    trial = planned(storage, tmp_path, "best.002", options)
    trial = replace(trial, plan=replace(trial.plan, sweep=sweep))
    connect(broker_url).set(Keys("best.001").driver_lock, "token")
    while_it_runs = stands(trial)

    connect(broker_url).flushall()
    trial.folder.paused.touch()

    assert while_it_runs == ("running", Situation.AWAITS_SWEEP)
    assert stands(trial) == ("stopped", Situation.STOPPED)


def test_a_finished_run_says_where_its_model_is_now(run):
    """The storage was moved since: the plan does not know where it lies."""
    result = make_result(model="/old/model", report="/old/report")
    run.folder.result.write_text(json.dumps(to_dict(result)))

    found = state_of(load_settings(), run).result

    expected = replace(result, model=str(run.folder.model), report=str(run.folder.report))
    assert found == expected


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"run": 1}', b"\xff"])
def test_a_damaged_result_is_refused(run, content):
    run.folder.result.write_bytes(content)

    with pytest.raises(RunError, match="is damaged"):
        state_of(load_settings(), run)
