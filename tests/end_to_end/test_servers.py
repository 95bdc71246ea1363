"""A stack that is kept up, and a broker shared by workers and a coordinator."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.paths import ROOT
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import (
    invoke,
    kill,
    our_processes,
    poets,
    poets_json,
    start,
    wait_until,
)
from tests.builders.runs import make_run
from tests.builders.servers import free_port
from tests.builders.traps import DEADLY_IMAGES, lay
from workers.storage.making import make_storage

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def ask(*arguments):
    """Return what `poets ... --json` prints; in this process, since it may be asked often."""
    return json.loads(invoke(*arguments, "--json").stdout)


def state_of(run):
    return ask("show", run)["state"]


def test_a_detached_run_goes_on_in_a_stack_that_stays_until_down(photos, runtime):
    shown = poets_json("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring", "--detach")

    assert shown == {"run": "spring", "state": "running"}
    assert state_of("spring") in ("running", "finished")
    wait_until(lambda: state_of("spring") == "finished")
    facts = wait_until(lambda: with_workers(ask("status")))
    assert facts["coordinator"]
    assert our_processes(runtime)

    _, err = poets("down")

    assert "is down" in err
    assert our_processes(runtime) == []


SLOW_SUPERVISOR = """
import sys, time

if "orchestrator.embedded.supervisor" in sys.orig_argv:
    time.sleep(3)
"""


def test_a_command_that_fails_at_once_leaves_its_stack_to_the_next(photos, tmp_path, runtime):
    """The first has begun to start one; the next must not start a second beside it."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW_SUPERVISOR)
    slow = os.pathsep.join([str(tmp_path / "slow"), str(ROOT)])
    poets("submit-dataset", tmp_path / "empty", exit_code=1, PYTHONPATH=slow)

    process = start("submit-dataset", photos, *TINY_OPTIONS, "--json")
    most = 0
    while process.poll() is None:
        most = max(most, supervisors(runtime))
        time.sleep(0.05)
    out, _ = process.communicate()

    assert most == 1
    assert json.loads(out)["lost"] == 0


def supervisors(runtime):
    """Return how many supervisors there are, by what they were started as."""
    count = 0
    for pid in our_processes(runtime):
        with contextlib.suppress(OSError):
            what = Path(f"/proc/{pid}/cmdline").read_bytes()
            # Of the same name, but of its session: a child that is about to become a service.
            count += b"orchestrator.embedded.supervisor" in what and os.getsid(pid) == pid
    return count


def test_a_detached_run_that_cannot_go_on_says_why_and_how_it_goes_on(photos, ready_storage):
    """The storage refuses: a file lies where the folder of bottlenecks should be."""
    obstacle = ready_storage.root / "bottlenecks"
    obstacle.write_text("in the way")
    poets("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring", "--detach", "-q")

    shown = wait_until(lambda: noted(ask("show", "spring")))
    assert shown["state"] == "running"
    assert "says: Cannot read" in shown["note"]
    poets("down")
    assert re.search(r"could not continue: .*says: Cannot read", poets("show", "spring")[0])

    obstacle.unlink()
    assert poets_json("resume", "spring")["lost"] == 0


def noted(shown):
    return shown if shown["note"].startswith("cannot continue now") else None


def test_a_detached_run_is_not_running_where_nobody_will_drive_it(photos, ready_storage, tmp_path):
    """The stack of an attached command has no coordinator."""
    make_run(ready_storage, photos, "other").folder.detached.touch()
    trap = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    process = start(
        "submit-dataset", photos, *TINY_OPTIONS, **lay(tmp_path / "traps", DEADLY_IMAGES)
    )
    wait_until(trap.with_name(trap.name + ".pid").exists)

    assert state_of("other") == "stalled"

    process.kill()
    process.communicate()


def with_workers(facts):
    return facts if facts["workers"] else None


def test_up_twice_is_one_stack_and_commands_join_it(photos):
    first = poets_json("up")
    second = poets_json("up")

    assert first["pid"] == second["pid"]
    result = poets_json("submit-dataset", photos, *TINY_OPTIONS)
    assert result["lost"] == 0
    assert poets_json("up")["pid"] == first["pid"]
    assert poets_json("down") == {"was_up": True}
    assert poets_json("down") == {"was_up": False}


def test_workers_and_a_coordinator_on_a_shared_broker(photos, broker_url, tmp_path, monkeypatch):
    monkeypatch.delenv("POETS_BROKER_URL")
    flag = ("--broker-url", broker_url)
    worker = start("worker", "--concurrency", 2, "--name", "first", *flag)
    monkeypatch.setenv("POETS_BROKER_URL", broker_url)
    coordinator = start("coordinator")
    try:
        wait_until(lambda: ask("status")["coordinator"])
        shown = poets_json("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring", "--detach")
        assert shown["state"] == "running"
        wait_until(lambda: state_of("spring") == "finished")
        output = tmp_path / "labels.csv"
        job = poets_json("classify-dir", photos, "-o", output)
        assert (job["ok"], job["failed"]) == (80, 0)
        examined = poets("doctor", "--deep", "--photographs", photos, exit_code=1)[0]
        assert "answers from bottleneck, train, infer; poets" in examined
        assert f"sees 80 files in {photos}" in examined
    finally:
        for process in (worker, coordinator):
            process.send_signal(signal.SIGTERM)
        outputs = [process.communicate() for process in (worker, coordinator)]
    assert all("Traceback" not in err for _, err in outputs)


def test_a_run_whose_workers_have_another_storage_ends_with_that_reason(
    photos, broker_url, tmp_path
):
    elsewhere = str(tmp_path / "elsewhere")
    make_storage(Path(elsewhere))
    worker = start("worker", "--concurrency", 1, POETS_STORAGE=elsewhere)
    try:
        _, err = poets("submit-dataset", photos, *TINY_OPTIONS, exit_code=1)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate()

    assert f"has the storage {elsewhere}" in err.splitlines()[-1]
    assert "POETS_STORAGE" in err.splitlines()[-1]


# As a missing library does.
BROKEN = """
def refuse(module):
    raise ImportError("libnothing.so: cannot open shared object file")
after_import("workers.worker_signals", refuse)
"""


def test_a_worker_that_dies_at_its_start_ends_the_command_with_the_reason(
    photos, tmp_path, runtime
):
    reason = "its worker cannot start: ImportError: libnothing.so: cannot open shared object file"
    broken = lay(tmp_path / "broken", BROKEN)

    _, err = poets(
        *("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring"), exit_code=1, **broken
    )

    assert reason in err.splitlines()[-1]
    assert err.endswith("continue with `poets resume spring`.\n")
    shown = ask("show", "spring")
    assert (shown["state"], reason in shown["note"]) == ("stopped", True)
    assert wait_until(lambda: not our_processes(runtime))
    assert reason in poets("up", exit_code=1, **broken)[1]
    assert poets_json("resume", "spring")["images"] == 80


def test_flower_shows_the_workers_and_lets_nobody_change_anything(runtime):
    poets("up", "-q")
    flowers = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        port = free_port()
        flowers[number] = port, start("flower", "--port", port)
    try:
        for port, _ in flowers.values():
            page = wait_until(
                lambda port=port: "celery@" in (found := fetch(port, "/workers") or "") and found
            )
            assert "Flower" in page
            assert fetch(port, "/api/worker/shutdown/celery@x", data=b"") is None
    finally:
        for number, (_, flower) in flowers.items():
            flower.send_signal(number)
            flower.communicate()
        poets("down")
    assert our_processes(runtime) == []


def fetch(port, path, data=None):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data) as answer:
            return answer.read().decode()
    except OSError:
        return None


def test_up_right_after_another_command_stays_up(photos):
    poets("submit-dataset", photos, *TINY_OPTIONS, "-q")

    poets("up", "-q")
    time.sleep(4)

    assert wait_until(lambda: with_workers(ask("status")))["coordinator"]
    poets("down")


def test_down_under_a_submit_ends_it_with_what_to_do(photos, tmp_path, runtime):
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

    poets("down")
    _, err = process.communicate()

    assert process.returncode == 1
    assert err.splitlines()[-1].endswith("continue with `poets resume spring`.")
    assert our_processes(runtime) == []
    assert poets_json("resume", "spring")["lost"] == 0


def test_a_submit_while_another_stack_is_ending_gets_one_of_its_own(photos):
    poets("up", "-q")
    down = start("down")
    result = poets_json("submit-dataset", photos, *TINY_OPTIONS)
    down.communicate()

    assert result["lost"] == 0


def test_a_stack_whose_supervisor_was_killed_is_not_kept_up_by_the_next_command(photos, runtime):
    kill(poets_json("up")["pid"])
    wait_until(lambda: not our_processes(runtime))

    poets("submit-dataset", photos, *TINY_OPTIONS, "-q")

    assert wait_until(lambda: not our_processes(runtime))


def test_files_in_the_current_folder_are_never_run(photos, tmp_path, monkeypatch):
    for name in ("redis.py", "celery.py", "queue.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('this file was run')")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise SystemExit('this file was run')")
    monkeypatch.chdir(tmp_path)
    poets_program = Path(sys.executable).with_name("poets")

    done = subprocess.run(
        [poets_program, "submit-dataset", "photos", *TINY_OPTIONS, "--json"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lost"] == 0


def test_resuming_a_finished_run_shows_it_and_writes_a_lost_output_again(photos, tmp_path):
    trained = poets_json("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring")
    output = tmp_path / "labels.csv"
    poets("classify-dir", photos, "-o", output, "--name", "labels", "-q")
    content = output.read_bytes()
    output.unlink()

    shown, err = poets("resume", "spring", "--json")
    again = poets_json("resume", "labels")

    assert "has finished already" in err
    assert json.loads(shown)["test_accuracy"] == trained["test_accuracy"]
    assert again["ok"] == 80
    assert output.read_bytes() == content
