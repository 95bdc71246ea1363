"""Workers and commands that are told to stop: SIGTERM, SIGHUP, Ctrl-C, Ctrl-C again."""

import csv
import json
import os
import signal

import pytest

from tests.builders.accounting import assert_all_accounted
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import our_processes, poets, poets_json, start, wait_until
from tests.builders.traps import DEADLY_IMAGES, lay, lay_trap
from tests.faults.rack import recovery
from tests.faults.undisturbed import JOB
from workers.leases import Keys

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
KEYS = Keys("spring")


def submit(rack, photos):
    return rack.poets("submit-dataset", photos, *JOB, "--name", "spring", "--json")


def temporaries(tmp_path):
    return list((tmp_path / "storage").rglob(".tmp-*"))


def test_a_worker_that_is_told_to_stop_ends_its_short_task_first(rack, undisturbed, tmp_path):
    """Row 16. SIGTERM; the task takes a second, the grace is three."""
    marker = tmp_path / "begun"
    slow = lay_trap(marker, "workers.bottlenecks.batches:complete_batch", "time.sleep(1)")
    worker = rack.worker(grace_s=3, **slow)
    driver = submit(rack, undisturbed.photos)
    wait_until(marker.exists)

    worker.process.send_signal(signal.SIGTERM)
    worker.end()

    assert len(list(tmp_path.glob("storage/bottlenecks/*/*/*.arrow"))) == 1
    assert rack.client.hgetall(KEYS.starts) == {}
    assert temporaries(tmp_path) == []
    rack.worker()
    assert driver.result()["lost"] == 0
    undisturbed.compare(tmp_path / "storage", "spring")


def test_a_task_that_outlasts_the_grace_is_back_in_the_queue_at_once(rack, undisturbed, tmp_path):
    """Row 17. SIGTERM in the middle of writing a shard."""
    marker = tmp_path / "writes"
    # The worker has tried the storage at its start, by such a call too.
    of_shard = 'arguments and "/bottlenecks/" in os.readlink(f"/proc/self/fd/{arguments[0]}")'
    stuck = lay_trap(marker, "workers.storage.atomic:os.fsync", "time.sleep(600)", only_if=of_shard)
    worker = rack.worker(grace_s=1, **stuck)
    driver = submit(rack, undisturbed.photos)
    wait_until(marker.exists)
    assert len(temporaries(tmp_path)) == 1
    assert rack.client.llen("bottleneck") == 9

    worker.process.send_signal(signal.SIGTERM)
    with recovery("a task that outlasted the grace of SIGTERM (1 s), until it is queued again"):
        worker.process.wait()
        assert rack.client.llen("bottleneck") == 10

    assert temporaries(tmp_path) == []
    rack.worker()
    assert driver.result()["lost"] == 0
    undisturbed.compare(tmp_path / "storage", "spring")


@pytest.mark.parametrize(
    ("command", "signals", "exit_code"),
    [
        ("submit-dataset", [signal.SIGINT], 130),
        ("submit-dataset", [signal.SIGHUP], 129),
        ("classify-dir", [signal.SIGINT, signal.SIGINT], 130),
        ("classify-dir", [signal.SIGTERM, signal.SIGTERM], 143),
    ],
)
def test_an_interrupt_leaves_a_run_that_can_be_resumed_and_no_process(
    photos, undisturbed, tmp_path, runtime, command, signals, exit_code
):
    """Row 18."""
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    output = tmp_path / "labels.csv"
    options = (
        TINY_OPTIONS
        if command == "submit-dataset"
        else ("-o", output, "--model", undisturbed.model)
    )
    process = start(
        command, photos, *options, "--name", "spring", **lay(tmp_path / "traps", DEADLY_IMAGES)
    )
    wait_until(trap.with_name(trap.name + ".pid").exists)

    interrupt(process, *signals)
    out, err = process.communicate()

    assert process.returncode == exit_code
    assert out == ""
    assert err.splitlines()[-1] == "Stopped. Continue with `poets resume spring`."
    assert wait_until(lambda: not our_processes(runtime))
    assert json.loads(poets("show", "spring", "--json")[0])["state"] == "stopped"
    assert not output.exists()

    result = poets_json("resume", "spring")
    assert_all_accounted(tmp_path / "storage", "spring")
    assert result["images"] == 81
    if command == "classify-dir":
        with output.open(newline="") as file:
            assert {row["status"] for row in csv.DictReader(file)} == {"ok"}


def interrupt(process, first, *again):
    process.send_signal(first)
    for number in again:
        wait_until(lambda: "Stopping" in process.stderr.readline())
        process.send_signal(number)


def test_ctrl_c_ends_a_classification_of_single_images_at_once(undisturbed, tmp_path):
    """Row 18. All of it happens in the one process."""
    trap = make_picture(tmp_path / "hangs_once.jpg", COLOURS["red"], 1)
    traps = lay(tmp_path / "traps", DEADLY_IMAGES)
    process = start("classify", trap, "--model", undisturbed.model, **traps)
    wait_until(trap.with_name(trap.name + ".pid").exists)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate()

    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
