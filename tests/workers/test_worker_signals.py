"""What a worker checks before its first task, and the application it starts with."""

import os
import subprocess
import sys

import pytest

from workers import worker_signals
from workers.app import make_app
from workers.errors import StorageError
from workers.settings import QUEUES, Settings
from workers.storage.atomic import check_storage


def test_a_storage_that_can_be_written_is_made_and_left_empty(tmp_path):
    check_storage(tmp_path / "deep" / "storage")

    assert list((tmp_path / "deep" / "storage").iterdir()) == []


def test_a_storage_below_a_file_is_refused_with_what_to_set(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match=r"cannot be written: .*POETS_STORAGE"):
        check_storage(tmp_path / "file" / "storage")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_storage_without_the_right_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(StorageError, match="Permission denied"):
        check_storage(tmp_path)


def test_a_worker_with_good_surroundings_starts(tmp_path):
    worker_signals._refuse_bad_machine()

    assert (tmp_path / "storage").is_dir()


def test_a_worker_with_bad_surroundings_ends_with_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("POETS_STORAGE", str(tmp_path / "file"))

    with pytest.raises(SystemExit, match=r"Error: The storage .* cannot be written"):
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
from workers import worker_signals
worker_signals._SHUTDOWN_S = 0.2
worker_signals._end_in_any_case(how=sys.argv[1])
time.sleep(3)
print("went on")
"""


@pytest.mark.parametrize(("how", "code", "said"), [("Cold", 1, ""), ("Warm", 0, "went on\n")])
def test_a_worker_that_hangs_in_its_shutdown_ends_unless_it_waits_for_work(how, code, said):
    """Celery waited forever for a broker that had gone, to say goodbye to it."""
    ended = subprocess.run([sys.executable, "-c", HANGING, how], capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (code, said)
