"""Workers whose clocks are wrong by an hour: leases go by the clock of Redis alone."""

import json
import signal
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.programs import kill, start, wait_until
from tests.builders.traps import HOLD_WORKER, SHIFT_CLOCK, lay, wait_for_held
from tests.faults.small import SMALL

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
HOUR_S = 3600


def test_workers_an_hour_ahead_and_behind_complete_a_run(
    few, tmp_path, broker_url, undisturbed_few
):
    """The one ahead dies in mid-batch, so Celery asks for a retry at an hour that is wrong."""
    ahead = lay(tmp_path / "ahead", SHIFT_CLOCK.format(seconds=HOUR_S), HOLD_WORKER)
    behind = lay(tmp_path / "behind", SHIFT_CLOCK.format(seconds=-HOUR_S))
    workers = [start("worker", "--concurrency", 1, "--name", "ahead", **ahead)]
    submit = start("submit-dataset", few, *SMALL, "--name", "spring", "--json")
    try:
        held = wait_for_held(tmp_path / "ahead")
        workers.append(start("worker", "--concurrency", 1, "--name", "behind", **behind))
        # Then it is the one that waits for work, and takes the retry.
        wait_until(lambda: len(list(tmp_path.glob("storage/bottlenecks/*/*/*.arrow"))) == 2)
        (tmp_path / "ahead" / "go").touch()
        kill(held)
        out, err = submit.communicate()
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        logs = [worker.communicate()[1] for worker in workers]

    assert submit.returncode == 0, err
    assert "retry: Retry in 5s" in logs[0]
    assert "Task poets.compute_batch[spring:0:1] received" in logs[1]
    result = json.loads(out)
    assert (result["computed"], result["quarantined"], result["lost"]) == (24, 0, 0)
    assert_all_accounted(tmp_path / "storage", "spring")
    assert_same_model(Path(result["model"]), undisturbed_few.model)
