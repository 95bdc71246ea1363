"""What `poets doctor` tries, and what `poets status` says of workers."""

import errno
import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator import deep_health, health
from orchestrator.health import ask_workers, examine
from tests.builders.programs import invoke
from workers.errors import MachineError, PoetsError
from workers.leases import connect
from workers.probing import View, answer_probe, answers_key
from workers.settings import load_settings, poets_version
from workers.storage.making import make_storage
from workers.storage.root import storage_id


def of_worker(pid, queues=("bottleneck",)):
    facts = {"host": "vm", "pid": pid, "queues": list(queues)}
    return {"poets": poets_version(), "rests": "", **facts}


def broker_of(*answers):
    control = SimpleNamespace(broadcast=lambda *_, **__: list(answers))
    return SimpleNamespace(app=SimpleNamespace(control=control))


def checks(**options):
    return {check.name: check for check in examine(load_settings(**options))}


def test_workers_of_one_machine_that_share_a_name_are_told_apart():
    found = ask_workers(
        broker_of({"celery@vm": of_worker(7)}, {"b@vm": of_worker(3)}, {"celery@vm": of_worker(5)})
    )

    assert list(found) == ["b@vm", "celery@vm (process 5)", "celery@vm (process 7)"]
    assert found["celery@vm (process 7)"]["pid"] == 7


def test_a_worker_that_does_not_know_the_question_is_listed():
    found = ask_workers(broker_of({"old@vm": {"error": "no such control command"}}))

    assert found["old@vm"]["poets"] == "too old to say"


@pytest.mark.parametrize(
    ("check", "what"),
    [
        ("machine", "orchestrator.health.check_semaphores"),
        ("machine", "orchestrator.health.check_modules"),
        ("pictures", "orchestrator.health.rehearse"),
    ],
)
def test_what_fails_is_one_line_and_the_rest_is_tried_all_the_same(monkeypatch, check, what):
    def refuse():
        raise MachineError("no /dev/shm")

    monkeypatch.setattr("orchestrator.health.rehearse", lambda: "drawn")
    monkeypatch.setattr(what, refuse)

    found = checks()

    assert (found[check].is_ok, found[check].text) == (False, "no /dev/shm")
    assert list(found)[-1] == "batches"


def test_temporary_files_that_cannot_be_written_are_said(monkeypatch):
    def refuse(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)

    with pytest.raises(PoetsError, match=r"No space left on device.*TMPDIR"):
        health._machine()


def test_a_broker_gives_back_what_it_is_given(broker_url, storage):
    assert "answers within" in health._broker(load_settings())
    assert list(connect(broker_url).scan_iter("poets:probe*")) == []


def test_photographs_need_deep(tmp_path):
    result = invoke("doctor", "--photographs", tmp_path)

    assert result.exit_code == 2
    assert "--deep" in result.stderr


def test_a_worker_says_what_it_sees(broker_url, storage, tmp_path):
    for name in ("a.jpg", "b/c.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    client = connect(broker_url)

    answer_probe(client, load_settings(), "token", str(tmp_path / "photos"), "infer")

    [text] = client.lrange(answers_key("token"), 0, -1)
    view = View(**json.loads(text))
    assert view.worker == f"{socket.gethostname()}:{os.getppid()}"
    assert (view.queue, view.files, view.problem) == ("infer", 2, "")
    assert (view.root, view.storage) == (str(storage.root), storage_id(storage.root))
    assert client.ttl(answers_key("token")) > 0


def test_a_worker_without_its_storage_says_so(broker_url, tmp_path):
    answer_probe(connect(broker_url), load_settings(), "token", "", "infer")

    [text] = connect(broker_url).lrange(answers_key("token"), 0, -1)
    assert "is not there" in json.loads(text)["problem"]
    assert not (tmp_path / "storage").exists()


SEEN = View("vm:7", "bottleneck", poets_version(), "/mnt/a", "id", "", 80)
PROBLEMS = {
    "is another one": {"storage": "other"},
    "is not there": {"storage": "", "problem": "The storage /mnt/a is not there."},
    "It sees 40 of the 80 files in photos": {"files": 40},
    "It is poets 9": {"poets": "9"},
    "has not answered from bottleneck": {"queue": "infer"},
}


@pytest.mark.parametrize(("said", "odd"), [("answers from bottleneck", {}), *PROBLEMS.items()])
def test_each_worker_is_judged_by_what_it_sees(broker_url, storage, monkeypatch, said, odd):
    view = View(**{**vars(SEEN), "storage": storage_id(storage.root), **odd})
    workers = {"celery@vm": of_worker(7)}
    monkeypatch.setattr(deep_health, "_find_workers", lambda _: workers)
    monkeypatch.setattr(deep_health, "_probe", lambda *_: [view])
    monkeypatch.setattr(deep_health, "count_files", lambda _: 80)

    found = list(deep_health.examine_workers(load_settings(), Path("photos")))

    assert [check.is_ok for check in found] == [False, False, not odd]
    assert "No worker takes work from queue train" in found[0].text
    assert said in found[2].text


def test_a_storage_that_is_there_is_said(tmp_path):
    make_storage(tmp_path / "storage")

    assert health._storage(load_settings()).startswith(str(tmp_path / "storage"))
