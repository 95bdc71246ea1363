"""Workers that are killed, images that kill, and people who press Ctrl-C."""

import csv
import json
import signal

import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.accounting import assert_all_accounted
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import kill, our_processes, poets, poets_json, start, wait_until
from tests.builders.traps import DEADLY_IMAGES, lay, lay_trap
from tests.faults.rack import recovery
from tests.faults.undisturbed import JOB
from workers.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def hang_in_mid_batch(marker):
    """Return the environment in which the first process that reads the fourth image hangs."""
    return lay_trap(
        marker,
        "workers.images.files:read_image_file",
        "time.sleep(600)",
        only_if="arguments[0].endswith('003.jpg')",
    )


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_a_batch_whose_process_was_killed_is_done_again(undisturbed, tmp_path, victim):
    """Rows 1 and 2. The supervisor of the embedded stack starts another worker."""
    marker = tmp_path / "hangs"
    job = ("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")
    process = start(*job, **hang_in_mid_batch(marker))
    wait_until(marker.exists)
    child = int(marker.read_text())

    with recovery(f"{victim} killed in the middle of a batch, embedded stack"):
        kill(child if victim == "child" else parent_of(child))
        wait_until(lambda: len(list(tmp_path.glob("storage/bottlenecks/*/*/*.arrow"))) == 10)
    result = json.loads(process.communicate()[0])

    assert (result["computed"], result["quarantined"], result["lost"]) == (80, 0, 0)
    undisturbed.compare(tmp_path / "storage", "spring")


def test_the_batch_of_a_worker_that_was_killed_is_done_by_another(rack, undisturbed, tmp_path):
    """Row 2. The reconciler does not wait for the visibility timeout, which is an hour."""
    marker = tmp_path / "hangs"
    victim = rack.worker(**hang_in_mid_batch(marker))
    job = ("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")
    driver = rack.poets(*job)
    wait_until(marker.exists)
    rack.worker()

    with recovery("a whole worker killed in the middle of a batch, shared broker"):
        victim.kill()
        result = driver.result()

    assert rack.client.hlen("unacked") == 1
    assert (result["computed"], result["quarantined"], result["lost"]) == (80, 0, 0)
    undisturbed.compare(tmp_path / "storage", "spring")


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def test_a_supervisor_that_is_killed_takes_its_busy_worker_with_it(photos, tmp_path, runtime):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    process = start(
        "submit-dataset",
        photos,
        *TINY_OPTIONS,
        "--name",
        "spring",
        **lay(tmp_path / "traps", DEADLY_IMAGES),
    )
    wait_until(trap.with_name(trap.name + ".pid").exists)

    kill(find_stack(load_settings()).supervisor())
    _, err = process.communicate()

    assert err.splitlines()[-1].endswith("continue with `poets resume spring`.")
    wait_until(lambda: not our_processes(runtime))


def test_images_that_kill_their_worker_become_rows_and_take_no_neighbour(photos, tmp_path):
    make_picture(photos / "red" / "0_kills.jpg", COLOURS["red"], 1)
    make_picture(photos / "red" / "1_kills.jpg", COLOURS["red"], 2)
    traps = lay(tmp_path / "traps", DEADLY_IMAGES)

    result = poets_json("submit-dataset", photos, *TINY_OPTIONS, **traps)

    assert (result["images"], result["computed"], result["quarantined"]) == (82, 80, 2)
    assert_all_accounted(tmp_path / "storage", result["run"], quarantined=2)
    with open(f"{result['model']}/quarantine.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["red/0_kills.jpg", "red/1_kills.jpg"]
    assert {row["reason"] for row in rows} == {"killed the process that read it (SIGKILL)"}

    # Labelling meets the same images; the rest comes from the cache.
    poets("classify-dir", photos, "-o", tmp_path / "labels.csv", "-q", **traps)
    with (tmp_path / "labels.csv").open(newline="") as file:
        labels = {row["path"]: row for row in csv.DictReader(file)}
    assert labels["red/0_kills.jpg"]["status"] == "failed"
    assert labels["red/000.jpg"]["label"] == "red"
    assert sum(row["status"] == "ok" for row in labels.values()) == 80


def test_ctrl_c_on_a_command_that_only_watches_leaves_the_run_to_its_driver(photos, tmp_path):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    name = ("--name", "spring")
    driver = start(
        "submit-dataset",
        photos,
        *TINY_OPTIONS,
        *name,
        "--json",
        **lay(tmp_path / "t", DEADLY_IMAGES),
    )
    marker = trap.with_name(trap.name + ".pid")
    child = int(wait_until(lambda: marker.exists() and marker.read_text()))
    watcher = start("resume", "spring")
    wait_until(lambda: "driven by another process" in watcher.stderr.readline())

    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate()
    kill(child)
    out, _ = driver.communicate()

    assert watcher.returncode == 130
    assert err.splitlines()[-1] == (
        "Run spring continues: another process drives it. See `poets show spring`."
    )
    assert driver.returncode == 0
    assert json.loads(out)["lost"] == 0


def test_a_command_that_is_killed_leaves_no_process(photos, tmp_path, runtime):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    process = start(
        "submit-dataset", photos, *TINY_OPTIONS, **lay(tmp_path / "traps", DEADLY_IMAGES)
    )
    wait_until(trap.with_name(trap.name + ".pid").exists)

    process.kill()
    process.communicate()

    assert wait_until(lambda: not our_processes(runtime))
    result = poets_json("resume", "photos-1")
    assert (result["computed"], result["lost"]) == (81, 0)
    assert_all_accounted(tmp_path / "storage", "photos-1")


def test_a_run_that_could_not_go_on_says_why_and_resumes(photos, tmp_path):
    """The storage refuses: a file lies where the folder of bottlenecks should be."""
    obstacle = tmp_path / "storage" / "bottlenecks"
    obstacle.write_text("in the way")

    _, err = poets("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring", exit_code=1)

    assert "cannot continue" in err
    assert "poets resume spring" in err
    obstacle.unlink()
    assert poets_json("resume", "spring")["lost"] == 0
