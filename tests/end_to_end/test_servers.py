"""A stack that is kept up, and a broker shared by workers and a coordinator."""

import json
import signal
import socket
import urllib.request

import pytest

from tests.end_to_end.conftest import TINY
from tests.end_to_end.programs import our_processes, poets, poets_json, start, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def state_of(run):
    return json.loads(poets("show", run, "--json")[0])["state"]


def test_a_detached_run_goes_on_in_a_stack_that_stays_until_down(photos, runtime):
    shown = poets_json("submit-dataset", photos, *TINY, "--name", "spring", "--detach")

    assert shown == {"run": "spring", "state": "running"}
    wait_until(lambda: state_of("spring") == "finished")
    facts = wait_until(lambda: with_workers(poets_json("status")))
    assert facts["coordinator"]
    assert our_processes(runtime)

    _, err = poets("down")

    assert "is down" in err
    assert our_processes(runtime) == []


def with_workers(facts):
    return facts if facts["workers"] else None


def test_up_twice_is_one_stack_and_commands_join_it(photos):
    first = poets_json("up")
    second = poets_json("up")

    assert first["pid"] == second["pid"]
    result = poets_json("submit-dataset", photos, *TINY)
    assert result["lost"] == 0
    assert poets_json("up")["pid"] == first["pid"]
    assert poets_json("down") == {"was_up": True}
    assert poets_json("down") == {"was_up": False}


def test_workers_and_a_coordinator_on_a_shared_broker(photos, broker_url, tmp_path):
    worker = start("worker", "--concurrency", 2, "--name", "first")
    coordinator = start("coordinator")
    try:
        wait_until(lambda: poets_json("status")["coordinator"])
        shown = poets_json("submit-dataset", photos, *TINY, "--name", "spring", "--detach")
        assert shown["state"] == "running"
        wait_until(lambda: state_of("spring") == "finished")
        output = tmp_path / "labels.csv"
        job = poets_json("classify-dir", photos, "-o", output)
        assert (job["ok"], job["failed"]) == (80, 0)
        assert "first@" in poets("doctor", exit_code=1)[0]
    finally:
        for process in (worker, coordinator):
            process.send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=60) for process in (worker, coordinator)]
    assert all("Traceback" not in err for _, err in outputs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_flower_shows_the_workers_and_lets_nobody_change_anything(photos, runtime, number):
    poets("up", "-q")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flower = start("flower", "--port", port)
    try:
        poets("submit-dataset", photos, *TINY, "-q")
        page = wait_until(lambda: "celery@" in (found := fetch(port, "/workers") or "") and found)
        assert "Flower" in page
        assert fetch(port, "/api/worker/shutdown/celery@x", data=b"") is None
    finally:
        flower.send_signal(number)
        flower.communicate(timeout=30)
        poets("down")
    assert our_processes(runtime) == []


def fetch(port, path, data=None):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data) as answer:
            return answer.read().decode()
    except OSError:
        return None
