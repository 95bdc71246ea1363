"""What a worker checks before its first task, and the application it starts with."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.programs import invoke
from workers import worker_signals
from workers.app import make_app
from workers.settings import QUEUES, Settings
from workers.storage.making import make_storage


@pytest.fixture
def waits(monkeypatch):
    """How long a worker has waited for its storage, which nobody makes meanwhile."""
    waits = []
    monkeypatch.setattr("workers.worker_signals.time.sleep", waits.append)
    return waits


def test_a_worker_with_its_storage_starts_at_once(storage, waits):
    worker_signals._refuse_bad_machine()

    assert waits == []


def test_a_worker_waits_for_a_storage_that_is_mounted_later(
    tmp_path, monkeypatch, caplog, broker_url
):
    root, shown = tmp_path / "storage", []

    def mount(_):
        shown.append(invoke("status").stdout)
        make_storage(root)

    monkeypatch.setattr("workers.worker_signals.time.sleep", mount)

    worker_signals._refuse_bad_machine()

    assert f"waits: The storage {root} is not there" in shown[0]

    [said] = caplog.messages
    assert f"The storage {root} is not there" in said
    assert "poets submit-dataset" in said


@pytest.mark.parametrize("folder", ["", "runs"], ids=["an empty folder", "an earlier version's"])
def test_a_worker_makes_no_storage(tmp_path, monkeypatch, folder):
    """What may be the folder below a mount point stays as it is."""
    (tmp_path / "storage" / folder).mkdir(parents=True)
    before = list((tmp_path / "storage").rglob("*"))

    def look(_):
        assert list((tmp_path / "storage").rglob("*")) == before
        raise KeyboardInterrupt

    monkeypatch.setattr("workers.worker_signals.time.sleep", look)

    with pytest.raises(KeyboardInterrupt):
        worker_signals._refuse_bad_machine()


def test_a_worker_that_cannot_write_ends_with_one_sentence(storage, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", refuse)

    with pytest.raises(SystemExit, match=r"Error: .*Read-only file system"):
        worker_signals._refuse_bad_machine()


def test_every_task_has_its_queue(tmp_path):
    app = make_app(Settings(tmp_path, "redis://example.org"))
    app.loader.import_default_modules()

    ours = {name for name in app.tasks if name.startswith("poets.")}
    assert ours == set(app.conf.task_routes)
    assert {route["queue"] for route in app.conf.task_routes.values()} == set(QUEUES)
    assert app.conf.broker_url == "redis://example.org"
    assert app.conf.accept_content == ["json"]


HANGING = """
import sys, time
from tests.builders.programs import invoke
from workers import worker_signals
worker_signals._SHUTDOWN_S = 0.2
worker_signals._end_in_any_case(how=sys.argv[1])
time.sleep(int(sys.argv[2]))
print("went on")
"""


@pytest.mark.parametrize(
    ("how", "seconds", "code", "said"), [("Cold", 3600, 1, ""), ("Warm", 1, 0, "went on\n")]
)
def test_a_worker_that_hangs_in_its_shutdown_ends_unless_it_waits_for_work(
    how, seconds, code, said
):
    """Celery waited forever for a broker that had gone, to say goodbye to it."""
    command = [sys.executable, "-c", HANGING, how, str(seconds)]
    ended = subprocess.run(command, capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (code, said)
