"""A run whose processes are all gone goes on from storage alone, also on another machine."""

import os
import shutil
import subprocess
import sys

import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.accounting import (
    assert_all_accounted,
    assert_same_bottlenecks,
    assert_same_model,
)
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.paths import ROOT
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import kill, our_processes, poets, poets_json, start, wait_until
from tests.builders.traps import DEADLY_IMAGES, lay
from workers.settings import Settings
from workers.storage.layout import Storage

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
# Another host name, where this system lets its users have one.
_RENAMED = ["unshare", "--user", "--map-root-user", "--uts"]
_RENAMED += ["sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]


def other_host_name() -> list[str]:
    try:
        done = subprocess.run([*_RENAMED, "hostname"], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return _RENAMED if done.stdout == "elsewhere\n" else []


def elsewhere(home, *arguments):
    """Run `poets` on what looks like another machine; return its output."""
    for name in ("home", "config", "run", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home / "home"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "TMPDIR": str(home / "tmp"),
    }
    done = subprocess.run(
        [*other_host_name(), sys.executable, "-m", "cli.main", *map(str, arguments)],
        env=environment, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def shards_of(storage):
    found = storage.glob("bottlenecks/*/*/*.arrow")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_a_run_is_resumed_on_another_machine_with_only_its_storage(photos, tmp_path, runtime):
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    how = (*TINY_OPTIONS, "--name", "spring", "--batch-size", 8)
    second = tmp_path / "second"
    shutil.copytree(tmp_path / "storage" / "backbones", second / "backbones")
    poets("submit-dataset", photos, *how, "-q", POETS_STORAGE=str(second))
    process = start("submit-dataset", photos, *how, **lay(tmp_path / "traps", DEADLY_IMAGES))
    wait_until(trap.with_name(trap.name + ".pid").exists)
    wait_until(lambda: shards_of(tmp_path / "storage"))

    process.kill()
    for pid in our_processes(runtime):
        kill(pid)
    process.communicate()
    wait_until(lambda: not our_processes(runtime))
    moved = tmp_path / "mounted" / "here"
    moved.parent.mkdir()
    (tmp_path / "storage").rename(moved)
    before = shards_of(moved)
    flag = ("--storage", moved)
    # For some seconds after the plan, its command could still be starting.
    table = wait_until(lambda: stalled_in(elsewhere(tmp_path / "machine", "runs", *flag)))
    elsewhere(tmp_path / "machine", "resume", "spring", *flag)

    assert f"`poets resume spring --storage {moved}` continues it" in table
    assert 0 < len(before) < len(shards_of(moved))
    assert before.items() <= shards_of(moved).items()
    assert_all_accounted(moved, "spring")
    assert_same_bottlenecks(moved, second)
    assert_same_model(Storage(moved).run("spring").model, Storage(second).run("spring").model)
    stack = find_stack(Settings(moved))
    wait_until(lambda: not our_processes(str(stack.folder)))
    shutil.rmtree(stack.folder)


def stalled_in(table):
    return table if "stalled" in table else None


def test_a_run_whose_driver_is_killed_is_stalled_and_not_running(photos, broker_url):
    """The broker stays, so the lock of the dead driver has to run out first."""
    process = start("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring")
    wait_until(lambda: "computing" in process.stderr.readline())
    while_driven = poets_json("show", "spring")["state"]

    process.kill()
    process.communicate()
    shown = wait_until(lambda: stalled(poets_json("show", "spring")))

    assert while_driven == "running"
    assert shown["note"] == "nobody drives it; `poets resume spring` continues it"
    worker = start("worker", "--concurrency", 1)
    try:
        assert poets_json("resume", "spring")["lost"] == 0
    finally:
        worker.terminate()
        worker.communicate()
    assert poets_json("show", "spring")["state"] == "finished"


def stalled(shown):
    return shown if shown["state"] != "running" else None
