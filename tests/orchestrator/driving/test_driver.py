"""Driving a run: storage decides, hints help; with a real server and tasks run by hand."""

import json
import os
import shutil
import threading
import time

import pytest
from kombu.exceptions import BatchPublishError

from orchestrator.dataset.scan import scan_folder
from orchestrator.driving import output_formats
from orchestrator.driving.broker import Broker, open_broker
from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.driving.driver import drive_run
from orchestrator.driving.result import to_dict
from orchestrator.driving.who_drives import Situation
from orchestrator.jobs import submit
from orchestrator.models import find_model
from orchestrator.planning.plan import plan_labelling
from orchestrator.runs import cancel_run, list_states, reopen_run, state_of
from tests.builders.backbones import BACKBONE, BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from tests.builders.workers import work_in_thread
from workers.errors import ModelError, RefusedError, RunError, StorageError
from workers.items import Item
from workers.leases import Keys, connect, report_failed_attempt
from workers.settings import QUEUES, load_settings
from workers.storage.plan import LabellingOptions


@pytest.fixture
def run(ready_storage, tmp_path, broker_url):
    return make_run(ready_storage, make_data_set(tmp_path / "photos"))


@pytest.fixture
def busy(broker_url):
    with work_in_thread(broker_url):
        yield


def drive(storage, run, on_progress=lambda _: None):
    return to_dict(drive_run(run, open_broker(load_settings()), on_progress))


def label(storage, run, photos, output):
    """Plan a job of four batches with the model of `run`."""
    return plan_labelling(
        storage,
        scan_folder(photos),
        BACKBONE,
        LabellingOptions(run.name, str(output), "csv", 2),
        run.folder.model,
        name="job",
        batch_size=6,
    )


def test_a_run_ends_with_a_model_and_every_image_accounted_for(ready_storage, run, busy):
    seen = []

    result = drive(ready_storage, run, seen.append)

    assert (result["images"], result["computed"], result["lost"]) == (24, 24, 0)
    assert result["labels"] == ("blue", "red")
    assert result["test_accuracy"] == 1.0
    assert json.loads(run.folder.result.read_bytes())["model"] == str(run.folder.model)
    assert seen[-1].done == 24
    assert {"computing bottlenecks", "training"} <= {progress.phase for progress in seen}


def test_driving_a_finished_run_again_only_reads_its_result(ready_storage, run, busy):
    first = drive(ready_storage, run)

    assert drive(ready_storage, run) == first


def test_seconds_are_counted_from_the_start_of_the_command(ready_storage, run, busy):
    started = time.monotonic() - 1000

    result = submit.attend_run(load_settings(), run, started, lambda _: None, lambda: None)

    assert result.seconds >= 1000


def test_after_flushall_everything_is_rebuilt_from_storage(
    ready_storage, run, busy, broker_url, caplog
):
    def forget_everything(progress):
        if progress.done and not forgotten:
            forgotten.append(connect(broker_url).flushall())

    forgotten = []

    result = drive(ready_storage, run, forget_everything)

    assert forgotten
    assert (result["computed"], result["lost"]) == (24, 0)
    assert "the broker has forgotten what it knew of run run" in caplog.text


def test_a_damaged_shard_is_computed_again_before_training(ready_storage, run, busy):
    def damage(progress):
        shards = list(ready_storage.root.glob("bottlenecks/*/*/*.arrow"))
        if not damaged and shards:
            shards[0].write_bytes(b"damaged")
            damaged.append(shards[0])

    damaged = []

    result = drive(ready_storage, run, damage)

    assert damaged
    assert (result["lost"], result["quarantined"]) == (0, 0)


def test_a_cancelled_run_stops(ready_storage, run, busy):
    cancel_run(run)

    with pytest.raises(RunError, match="cancelled"):
        drive(ready_storage, run)
    assert state_of(load_settings(), run).state == "cancelled"


def test_a_cancelled_run_can_be_taken_up_again(ready_storage, run, busy):
    cancel_run(run)
    reopen_run(run)

    assert drive(ready_storage, run)["lost"] == 0
    with pytest.raises(RunError, match="has finished"):
        cancel_run(run)


def test_a_failure_that_would_repeat_ends_the_run_with_its_reason(ready_storage, run, busy):
    run.folder.failure.write_text(json.dumps({"reason": "weights do not fit"}))

    with pytest.raises(RunError, match="weights do not fit"):
        drive(ready_storage, run)
    state = state_of(load_settings(), run)
    assert (state.state, state.reason) == ("failed", "weights do not fit")


def test_trouble_that_stays_pauses_the_run_and_says_how_to_go_on(
    ready_storage, run, broker_url, monkeypatch
):
    monkeypatch.setattr("orchestrator.driving.reconcile._RETRY_WAIT_S", 0.01)
    for batch in range(3):
        report_failed_attempt(
            connect(broker_url), run.name, Item.of_batch(batch), "Cannot write: disk full."
        )

    def take_messages(_):
        connect(broker_url).delete(*QUEUES)

    with pytest.raises(RunError, match=r"cannot continue: .*disk full") as raised:
        drive(ready_storage, run, take_messages)
    state = state_of(load_settings(), run)
    assert raised.value.run == "run"
    assert (state.state, state.reason) == ("stopped", "Cannot write: disk full")


def test_the_reason_of_a_detached_run_is_shown_while_it_is_tried_again(
    ready_storage, run, broker_url
):
    run.folder.detached.touch()
    run.folder.trouble.write_text("Cannot write: disk full.")
    connect(broker_url).set(ALIVE_KEY, 1)

    state = state_of(load_settings(), run)

    assert state.state == "running"
    assert (state.situation, state.reason) == (Situation.DRIVEN, "Cannot write: disk full")


def test_a_reason_goes_when_the_work_goes_on(ready_storage, run, busy):
    run.folder.trouble.write_text("Cannot write: disk full.")
    seen = []

    drive(
        ready_storage,
        run,
        lambda progress: seen.append((progress.done, run.folder.trouble.exists())),
    )

    assert seen[0] == (0, True)
    assert {exists for done, exists in seen if done} == {False}


def test_resume_clears_the_reason(ready_storage, run):
    run.folder.trouble.write_text("Cannot write: disk full.")

    reopen_run(run)

    assert not run.folder.trouble.exists()


def test_an_output_that_has_come_to_exist_is_the_reason_that_is_shown(
    ready_storage, run, busy, tmp_path
):
    drive(ready_storage, run)
    job = label(ready_storage, run, tmp_path / "photos", tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("mine")

    with pytest.raises(RefusedError, match=r"was not overwritten") as raised:
        drive(ready_storage, job)

    assert raised.value.run == job.name
    assert "labels.csv exists already" in state_of(load_settings(), job).reason


def test_a_batch_that_ends_every_worker_becomes_rows_with_a_reason(
    ready_storage, run, busy, broker_url
):
    connect(broker_url).hset(Keys(run.name).starts, "1", 5)

    result = drive(ready_storage, run)

    assert (result["quarantined"], result["computed"], result["lost"]) == (8, 16, 0)
    rows = (run.folder.model / "quarantine.csv").read_text().splitlines()
    assert len(rows) == 9
    assert "ended its worker" in rows[1]


def test_a_second_driver_waits_for_the_end_of_the_first(ready_storage, run, busy):
    results, phases = [], set()

    def second():
        results.append(drive(ready_storage, run, lambda progress: phases.add(progress.note)))

    def first(progress):
        if not threads:
            threads.append(threading.Thread(target=second))
            threads[0].start()
            threads[0].join(0.5)

    threads = []
    results.append(drive(ready_storage, run, first))
    threads[0].join()

    assert results[0] == results[1]
    assert "driven by another process" in phases


def test_the_lock_is_kept_while_the_labels_are_merged(
    ready_storage, run, busy, broker_url, tmp_path, monkeypatch
):
    drive(ready_storage, run)
    shutil.rmtree(ready_storage.bottlenecks(BACKBONE_ID))
    job = label(ready_storage, run, tmp_path / "photos", tmp_path / "labels.csv")
    held, read = [], output_formats._read

    def read_slowly(path):
        threading.Event().wait(1.1)
        held.append(connect(broker_url).exists(Keys(job.name).driver_lock))
        return read(path)

    monkeypatch.setattr("orchestrator.driving.output_formats._read", read_slowly)
    monkeypatch.setattr("orchestrator.driving.broker._LEASE_S", 2)

    drive(ready_storage, job)

    assert held == [1] * 4


def test_with_no_worker_the_progress_says_so(ready_storage, run, monkeypatch):
    monkeypatch.setattr("orchestrator.driving.driver._HELP_AFTER_S", 0.3)

    def until_help(progress):
        if progress.is_unattended:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(ready_storage, run, until_help)


def test_runs_are_listed_with_how_they_stand(ready_storage, run, busy, tmp_path):
    os.utime(make_run(ready_storage, tmp_path / "photos", "other").folder.plan, (1, 1))
    drive(ready_storage, run)

    states = {state.name: state for state in list_states(load_settings())}

    assert states["run"].state == "finished"
    assert states["run"].result.accuracies["test"] == 1.0
    assert states["other"].state == "stalled"
    assert states["other"].batches_done == 3


def test_models_are_found_by_run_by_path_and_as_the_latest(ready_storage, run, busy):
    with pytest.raises(ModelError, match="no trained model"):
        find_model(ready_storage, "latest")
    with pytest.raises(ModelError, match="no run and no model"):
        find_model(ready_storage, "nothing")
    with pytest.raises(ModelError, match="has no model yet"):
        find_model(ready_storage, run.name)

    drive(ready_storage, run)

    for reference in ("latest", run.name, str(run.folder.model), str(run.folder.path)):
        assert find_model(ready_storage, reference) == run.folder.model


def test_a_trainer_that_always_died_is_tried_anew_after_resume(
    ready_storage, run, busy, broker_url
):
    connect(broker_url).hset(Keys(run.name).starts, "train", 5)
    with pytest.raises(RunError, match="died 5 times"):
        drive(ready_storage, run)
    assert state_of(load_settings(), run).state == "failed"

    reopen_run(run)

    assert drive(ready_storage, run)["lost"] == 0


def test_reports_of_an_earlier_run_of_this_name_are_ignored(ready_storage, run, busy, broker_url):
    connect(broker_url).rpush(Keys(run.name).done, "[99, 0]", "[-1, 7]")

    assert drive(ready_storage, run)["lost"] == 0


def test_a_broker_that_breaks_off_while_it_is_sent_to_is_waited_for(
    ready_storage, run, busy, monkeypatch
):
    monkeypatch.setattr("time.sleep", lambda _: threading.Event().wait(0.05))
    send, broken = Broker.send, []

    def break_once(*arguments):
        if not broken:
            broken.append(True)
            raise BatchPublishError("connection lost")
        send(*arguments)

    monkeypatch.setattr(Broker, "send", break_once)
    problems = set()

    result = drive(ready_storage, run, lambda progress: problems.add(progress.problem))

    assert result["lost"] == 0
    assert "waiting for the broker (BatchPublishError)" in problems


def test_a_damaged_run_is_listed_and_hides_no_other(ready_storage, run, busy, tmp_path):
    drive(ready_storage, run)
    broken = make_run(ready_storage, tmp_path / "photos", "broken")
    broken.folder.plan.write_text("{}")
    half = make_run(ready_storage, tmp_path / "photos", "half")
    os.utime(half.folder.plan, (1, 1))
    half.folder.model.mkdir()
    odd = make_run(ready_storage, tmp_path / "photos", "odd")
    odd.folder.result.write_text("not JSON")
    for name in ("model.json", "backbone.tflite"):
        (half.folder.model / name).write_text("{}")

    states = {state.name: state.state for state in list_states(load_settings())}

    assert states == {
        "run": "finished",
        "broken": "damaged",
        "half": "stalled",
        "odd": "damaged",
    }
    assert find_model(ready_storage, "latest") == run.folder.model


def test_a_finished_run_has_nothing_to_resume(ready_storage, run, busy):
    result = drive(ready_storage, run)

    assert to_dict(reopen_run(run)) == result


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda run: run.folder.plan.unlink(), "was it unmounted"),
        # Stands for a file that cannot be read any more.
        (lambda run: run.folder.result.mkdir(), "Is a directory"),
        # A run whose failure cannot be read has not failed.
        (lambda run: run.folder.failure.mkdir(), "Is a directory"),
    ],
)
def test_a_storage_that_fails_under_a_driver_is_told_with_what_to_do(
    ready_storage, run, harm, said
):
    steps = []

    def fail_at_first_look(progress):
        if not steps:
            harm(run)
        steps.append(progress)

    with pytest.raises(StorageError, match=said) as raised:
        drive(ready_storage, run, fail_at_first_look)
    assert raised.value.run == "run"
