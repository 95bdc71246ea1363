"""Workers that are killed, images that kill, and people who press Ctrl-C."""

import csv
import json
import signal
from pathlib import Path

import pytest

from orchestrator.embedded import find_stack
from tests.faults.accounting import (
    assert_all_accounted,
    assert_same_bottlenecks,
    assert_same_model,
)
from tests.faults.conftest import TINY
from tests.made import COLOURS, make_picture
from tests.programs import (
    kill,
    lay_traps,
    our_processes,
    poets,
    poets_json,
    start,
    wait_until,
)
from workers.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def test_a_worker_killed_in_the_middle_of_a_batch_changes_nothing(photos, tmp_path):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    undisturbed = poets_json("submit-dataset", photos, *TINY, POETS_STORAGE=copy_of(tmp_path))

    traps = lay_traps(tmp_path / "traps")
    process = start("submit-dataset", photos, *TINY, "--json", **traps)
    marker = trap.with_name(trap.name + ".pid")
    kill(int(wait_until(lambda: marker.exists() and marker.read_text())))
    result = json.loads(process.communicate(timeout=120)[0])

    assert (result["computed"], result["quarantined"], result["lost"]) == (81, 0, 0)
    assert_all_accounted(tmp_path / "storage", result["run"])
    assert_same_bottlenecks(tmp_path / "storage", tmp_path / "second")
    assert_same_model(Path(result["model"]), Path(undisturbed["model"]))


def copy_of(tmp_path):
    """Return a second storage with the converted backbone."""
    import shutil

    shutil.copytree(tmp_path / "storage" / "backbones", tmp_path / "second" / "backbones")
    return str(tmp_path / "second")


def test_the_whole_worker_killed_is_started_again_and_the_run_completes(photos, tmp_path, runtime):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    process = start("submit-dataset", photos, *TINY, "--json", **lay_traps(tmp_path / "traps"))
    marker = trap.with_name(trap.name + ".pid")
    child = int(wait_until(lambda: marker.exists() and marker.read_text()))

    kill(parent_of(child))
    result = json.loads(process.communicate(timeout=120)[0])

    assert (result["computed"], result["quarantined"], result["lost"]) == (81, 0, 0)


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def test_a_supervisor_that_is_killed_takes_its_busy_worker_with_it(photos, tmp_path, runtime):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    process = start(
        "submit-dataset", photos, *TINY, "--name", "spring", **lay_traps(tmp_path / "traps")
    )
    wait_until(trap.with_name(trap.name + ".pid").exists)

    kill(find_stack(load_settings()).supervisor())
    _, err = process.communicate(timeout=60)

    assert err.splitlines()[-1].endswith("go on with `poets resume spring`.")
    wait_until(lambda: not our_processes(runtime), 5)


def test_images_that_kill_their_worker_become_rows_and_take_no_neighbour(photos, tmp_path):
    make_picture(photos / "red" / "0_kills.jpg", COLOURS["red"], 1)
    make_picture(photos / "red" / "1_kills.jpg", COLOURS["red"], 2)
    traps = lay_traps(tmp_path / "traps")

    result = poets_json("submit-dataset", photos, *TINY, **traps)

    assert (result["images"], result["computed"], result["quarantined"]) == (82, 80, 2)
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
    driver = start("submit-dataset", photos, *TINY, *name, "--json", **lay_traps(tmp_path / "t"))
    marker = trap.with_name(trap.name + ".pid")
    child = int(wait_until(lambda: marker.exists() and marker.read_text()))
    watcher = start("resume", "spring")
    wait_until(lambda: "driven by another process" in watcher.stderr.readline())

    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=60)
    kill(child)
    out, _ = driver.communicate(timeout=120)

    assert watcher.returncode == 130
    assert err.splitlines()[-1] == (
        "Run spring goes on: another process drives it. See `poets show spring`."
    )
    assert driver.returncode == 0
    assert json.loads(out)["lost"] == 0


def test_a_command_that_is_killed_leaves_no_process(photos, tmp_path, runtime):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    process = start("submit-dataset", photos, *TINY, **lay_traps(tmp_path / "traps"))
    wait_until(trap.with_name(trap.name + ".pid").exists)

    process.kill()
    process.communicate()

    assert wait_until(lambda: not our_processes(runtime), 20)


def test_a_run_that_could_not_go_on_says_why_and_resumes(photos, tmp_path):
    """The storage refuses: a file lies where the folder of bottlenecks should be."""
    obstacle = tmp_path / "storage" / "bottlenecks"
    obstacle.write_text("in the way")

    _, err = poets("submit-dataset", photos, *TINY, "--name", "spring", exit_code=1)

    assert "cannot go on" in err
    assert "poets resume spring" in err
    obstacle.unlink()
    assert poets_json("resume", "spring")["lost"] == 0
