"""Where the embedded stack keeps its files, what counts as its supervisor, and its server."""

import errno
import fcntl
import json
import os
import tempfile
from pathlib import Path

import msgspec
import pytest

from orchestrator.embedded import runtime_folder
from orchestrator.embedded.stack import RunningStack, find_stack
from orchestrator.embedded.supervisor import find_server
from orchestrator.embedded.users import (
    attach_broker,
    keep_stack,
    kill_stack,
    stop_stack,
    why_stopped,
)
from orchestrator.health import examine
from workers.errors import BrokerError
from workers.settings import Settings


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "storage").mkdir()
    return Settings(tmp_path / "storage")


def test_one_storage_has_one_stack_whatever_way_leads_to_it(settings, tmp_path):
    (tmp_path / "link").symlink_to("storage")

    assert find_stack(Settings(tmp_path / "link")).folder == find_stack(settings).folder
    assert find_stack(Settings(tmp_path / "other")).folder != find_stack(settings).folder
    find_stack(Settings(tmp_path / "other")).folder.rmdir()


def test_the_folder_is_private_and_short_enough_for_a_socket(settings):
    stack = find_stack(settings)

    assert stack.folder.stat().st_mode & 0o777 == 0o700
    assert len(str(stack.socket)) < 100
    assert stack.broker_url == f"redis+socket://{stack.socket}?virtual_host=0"


def test_a_folder_that_others_can_enter_is_refused(settings):
    folder = find_stack(settings).folder
    folder.chmod(0o755)

    with pytest.raises(BrokerError, match="not a private folder"):
        find_stack(settings)
    folder.chmod(0o700)


@pytest.fixture
def elsewhere(monkeypatch):
    """Return what lets /tmp be another path, and TMPDIR a folder that can be written."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        monkeypatch.setenv("TMPDIR", folder)

        def put(usual):
            monkeypatch.setattr(runtime_folder, "_RUNTIME", str(usual))
            return Path(folder)

        yield put


def test_the_stack_is_elsewhere_where_the_usual_folder_cannot_be_made(settings, elsewhere):
    folder = elsewhere("/proc/nothing")

    stack = find_stack(settings)

    assert stack.folder.parent == folder
    assert stack.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("is_file", [True, False])
def test_a_name_that_somebody_else_has_taken_is_left_to_them(
    settings, elsewhere, monkeypatch, is_file
):
    usual = find_stack(settings).folder
    folder = elsewhere(usual.parent)
    if is_file:
        usual.rmdir()
        usual.touch()
    else:
        found, other = os.lstat(usual), os.getuid() + 1
        theirs = os.stat_result((*found[:4], other, *found[5:]))
        monkeypatch.setattr(Path, "lstat", lambda path: theirs if path == usual else os.lstat(path))

    try:
        assert find_stack(settings).folder.parent == folder
    finally:
        usual.unlink() if is_file else usual.rmdir()


def test_a_stack_that_is_up_elsewhere_is_found_when_the_usual_folder_is_back(
    settings, elsewhere, tmp_path
):
    elsewhere("/proc/nothing")
    stack = find_stack(settings)
    stack.alive.write_text(f"{os.getpid()}\n")
    with stack.alive.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        elsewhere("/tmp")
        assert find_stack(settings).folder == stack.folder

    usual = find_stack(settings).folder
    assert usual != stack.folder
    usual.rmdir()


def test_where_no_folder_can_be_made_nothing_is_up_and_a_start_says_what_to_do(
    settings, elsewhere, monkeypatch
):
    elsewhere("/proc/nothing")
    monkeypatch.setenv("TMPDIR", "/proc/nothing")
    monkeypatch.setattr(runtime_folder, "_OTHERS", ())

    assert attach_broker(settings) is None
    assert stop_stack(settings) is False
    with pytest.raises(BrokerError, match=r"cannot write /proc/nothing/.* Set TMPDIR"):
        keep_stack(settings)
    # Before the folder of this test is removed, which is where it always was.
    monkeypatch.undo()


def test_a_full_disk_is_said_before_anything_is_started(settings, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)

    with pytest.raises(BrokerError, match=r"No space left on device. Make room there"):
        keep_stack(settings)
    assert find_stack(settings).supervisor() is None
    [broker] = [check for check in examine(settings) if check.name == "broker"]
    assert (broker.is_ok, "Make room there" in broker.text) == (False, True)


def test_a_process_id_without_the_lock_is_no_supervisor(settings):
    stack = find_stack(settings)
    stack.state.write_text(json.dumps({"pid": os.getpid()}))
    stack.alive.write_text(f"{os.getpid()}\n")

    assert stack.supervisor() is None
    assert stack.running() is None
    assert attach_broker(settings) is None
    assert why_stopped(settings) == ""
    assert stop_stack(settings) is False
    kill_stack(stack)


def test_a_supervisor_holds_the_lock_and_its_own_state(settings):
    stack = find_stack(settings)
    stack.alive.write_text(f"{os.getpid()}\n")
    with stack.alive.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert stack.supervisor() == os.getpid()
        assert stack.running() is None

        stack.state.write_text(json.dumps({"pid": os.getpid()}))
        assert stack.running() == RunningStack(os.getpid())
        assert attach_broker(settings).broker_url == stack.broker_url

        stack.state.write_text(json.dumps({"pid": 1}))
        assert stack.running() is None


def test_with_a_broker_configured_no_stack_is_missed(settings, tmp_path):
    assert why_stopped(Settings(tmp_path, "redis://localhost")) is None


def test_the_server_of_the_package_comes_first_then_that_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    system = tmp_path / "redis-server"
    system.touch(mode=0o755)

    packaged = find_server()
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)

    assert packaged.endswith("/valkey-server") and os.access(packaged, os.X_OK)
    assert find_server() == str(system)
    system.unlink()
    with pytest.raises(BrokerError, match="Install one"):
        find_server()


def test_a_stack_says_what_may_still_be_starting(tmp_path):
    stack = find_stack(Settings(tmp_path))
    assert stack.starting_services() == []

    with stack.alive.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(os.getpid(), file=lock, flush=True)
        stack.state.write_bytes(msgspec.json.encode(RunningStack(os.getpid())))
        assert stack.starting_services() == ["workers"]
        stack.keep.touch()
        assert stack.starting_services() == ["workers", "coordinator"]

        # The stack of a command that `poets up` keeps from now on: only the coordinator is new.
        stack.ready("worker").touch()
        assert stack.starting_services() == ["coordinator"]
        stack.ready("coordinator").touch()
        assert stack.starting_services() == []
