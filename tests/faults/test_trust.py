"""Messages that no part of poets has sent: refused, logged, and the worker lives."""

import json
import pickle
import signal
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.envelopes import envelope
from tests.builders.programs import poets_json, start, wait_until
from tests.builders.traps import TrappedPickle
from tests.faults.small import SMALL
from workers.leases import connect

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def message(task, *arguments, **named):
    body = json.dumps([arguments, named, {}]).encode()
    return envelope(body, {"lang": "py", "task": task, "id": f"stranger:{task}:1"})


def strange_messages(tmp_path):
    """Return text that the log must show -> the message."""
    batch = "poets.compute_batch"
    pickled = pickle.dumps(((TrappedPickle(tmp_path / "run"), 0), {}, {}))
    headers = {"lang": "py", "task": batch, "id": "stranger:0:1"}
    return {
        "untrusted content of type pickle": envelope(
            pickled, headers, "application/x-python-serialize"
        ),
        "unregistered task of type 'os.system'": message("os.system", "touch /tmp/x"),
        "Run name '../../elsewhere' is not allowed": message(batch, "../../elsewhere", 0),
        "There is no run 'nobody'": message(batch, "nobody", 0),
        "names batch 99 of run 'spring', which has 3": message(batch, "spring", 99),
        "unexpected keyword argument 'model'": message(batch, "spring", 0, model="/etc"),
        "'/etc/passwd' is not allowed": message("poets.train_head", "/etc/passwd"),
        "'../0' is no piece of a run": message(batch, "spring", "../0"),
        "unknown message": envelope(b'{"version": 99}', {"version": 99}),
    }


def test_strange_messages_are_refused_and_logged_and_the_worker_goes_on(
    few, tmp_path, broker_url, undisturbed_few
):
    messages = strange_messages(tmp_path)
    client = connect(broker_url)
    worker = start("worker", "--concurrency", 1)
    try:
        result = poets_json("submit-dataset", few, *SMALL, "--name", "spring")
        client.lpush("bottleneck", *messages.values())
        wait_until(lambda: not client.llen("bottleneck") and not client.hlen("unacked"))
        again = poets_json("submit-dataset", few, *SMALL, "--seed", "1")
    finally:
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate()

    assert again["lost"] == 0
    assert not (tmp_path / "run").exists()
    for said in messages:
        assert said in log
    assert_all_accounted(tmp_path / "storage", "spring")
    assert_same_model(Path(result["model"]), undisturbed_few.model)


@pytest.mark.parametrize("text", ["no JSON", "[1]"])
def test_text_that_is_no_message_at_all_does_not_end_a_worker(few, broker_url, text):
    """Celery would give up over it."""
    client = connect(broker_url)
    worker = start("worker", "--concurrency", 1)
    try:
        poets_json("submit-dataset", few, *SMALL)
        client.lpush("bottleneck", text)
        wait_until(lambda: not client.llen("bottleneck"))
        again = poets_json("submit-dataset", few, *SMALL, "--seed", "1")
        assert worker.poll() is None
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.communicate()

    assert (again["lost"], worker.returncode) == (0, 0)
