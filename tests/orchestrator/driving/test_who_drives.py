"""How a run stands that has not ended: what is said of it is true."""

import os
import time
from dataclasses import replace

import pytest

from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.runs import list_states, state_of
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.leases import Keys, connect
from workers.settings import Settings, load_settings
from workers.storage.plan import TrainingOptions
from workers.storage.run import Run


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
    return state.state, state.note


def test_a_run_that_somebody_drives_is_running(run, broker_url):
    connect(broker_url).set(Keys("spring").driver_lock, "token")

    assert stands(run) == ("running", "")


def test_a_run_whose_driver_has_died_is_stalled_and_says_what_to_do(run, broker_url):
    expected = ("stalled", "nobody drives it; `poets resume spring` goes on with it")

    assert stands(run) == expected
    # That of another run is nothing to it.
    connect(broker_url).set(Keys("other").driver_lock, "token")
    assert stands(run) == expected


def test_with_the_embedded_stack_down_nobody_drives(run):
    assert stands(run)[0] == "stalled"


def test_a_command_that_is_just_starting_is_not_taken_for_dead(run):
    os.utime(run.folder.plan)

    assert stands(run) == ("running", "is starting")


def test_a_broker_that_is_away_leaves_the_state_unknown(run, tmp_path, monkeypatch):
    monkeypatch.setenv("POETS_BROKER_URL", f"redis+socket://{tmp_path}/nobody?virtual_host=0")

    state, note = stands(run)

    assert state == "unknown"
    assert "the broker does not say" in note
    assert "`poets resume spring`" in note
    run.folder.paused.touch()
    assert stands(run) == ("stopped", "`poets resume spring` goes on with it")


def test_a_coordinator_takes_up_what_nobody_drives(run, broker_url):
    connect(broker_url).set(ALIVE_KEY, 1)

    assert stands(run) == ("running", "a coordinator takes it up")
    run.folder.paused.touch()
    assert stands(run)[0] == "stopped"


def test_a_detached_run_without_a_coordinator_is_stalled(run, broker_url):
    run.folder.detached.touch()

    state, note = stands(run)

    assert state == "stalled"
    assert note.startswith("no coordinator is up")


def test_a_trial_waits_for_its_siblings_and_is_not_resumed_alone(storage, tmp_path, broker_url):
    options = TrainingOptions(evaluate_test=False)
    trial = planned(storage, tmp_path, "best.002", options)
    plan = trial.folder.plan.read_text()
    trial.folder.plan.write_text(plan.replace('"parent": null', '"parent": "spring"'))
    os.utime(trial.folder.plan, (1, 1))
    trial = Run.open(storage, trial.name)
    connect(broker_url).set(Keys("best.001").driver_lock, "token")
    while_it_runs = stands(trial)

    connect(broker_url).flushall()
    trial.folder.paused.touch()

    assert while_it_runs == ("running", "waits for the other trials of its sweep")
    state, note = stands(trial)
    assert state == "stopped"
    assert "`poets sweep spring`" in note
    assert "resume" not in note


def test_a_note_leads_to_the_storage_and_the_broker_that_were_named(run, broker_url, monkeypatch):
    named = replace(load_settings(), storage=run.folder.path.parents[1])
    monkeypatch.setenv("POETS_STORAGE", "/elsewhere")
    monkeypatch.delenv("POETS_BROKER_URL")

    (state,) = list_states(named)

    flags = f"--storage {named.storage} --broker-url '{broker_url}'"
    assert f"`poets resume spring {flags}` goes on" in state.note
    assert state_of(named, run).note == state.note
    assert "--broker-url" not in state_of(Settings(named.storage), run).note


def test_a_finished_run_says_where_its_model_is_now(run):
    """The storage was moved since: the plan does not know where it lies."""
    run.folder.result.write_text(
        '{"run": "spring", "model": "/old/model", "report": "/old/report"}'
    )

    result = state_of(load_settings(), run).result

    assert result == {
        "run": "spring",
        "model": str(run.folder.model),
        "report": str(run.folder.report),
    }
