"""Ctrl-C, SIGTERM and SIGHUP, and streams that nobody reads, without any run in earnest."""

import errno
import os
import pkgutil
import pty
import signal
import sys

import pytest

from cli.interrupts import interruptible
from cli.streams import robust_streams, writing_result
from orchestrator.attended import attended, leave_runs
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_data_set
from tests.builders.programs import invoke
from workers.errors import PoetsError
from workers.settings import load_settings
from workers.storage.layout import Storage

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def _nothing_attended():
    attended.clear()
    yield
    attended.clear()


@pytest.mark.parametrize(("number", "code"), SIGNALS.items())
def test_each_signal_interrupts_with_an_exit_code_of_its_own(number, code):
    before = signal.getsignal(number)

    with interruptible() as interrupted, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert interrupted() == code
    assert signal.getsignal(number) == before


def test_only_ctrl_c_interrupts_again_and_the_first_signal_gives_the_exit_code():
    with interruptible() as interrupted:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        # `timeout` sends it twice.
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)

    assert interrupted() == 143


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def interrupt_after(monkeypatch, where):
    """Send SIGTERM when a function has done its work, or that of `attend`, which needs a stack."""
    work = {"cli.attend.attend": lambda *_: None}.get(where) or pkgutil.resolve_name(where)

    def work_and_end(*arguments):
        work(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(where, work_and_end)


@pytest.mark.usefixtures("ready_storage", "_no_stack")
@pytest.mark.parametrize(
    "where",
    ["orchestrator.planning.plan._claim_name", "cli.attend.attend", "cli.attend.with_advice"],
)
def test_an_interrupt_between_planning_and_attending_says_how_to_resume(
    tmp_path, monkeypatch, where
):
    photos = make_data_set(tmp_path / "photos", per_label=12)
    interrupt_after(monkeypatch, where)

    result = invoke("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring")

    assert result.exit_code == 143
    assert result.stderr.splitlines()[-1] == "Stopped. Continue with `poets resume spring`."
    assert Storage(load_settings().storage).run("spring").paused.exists()


@pytest.mark.usefixtures("ready_storage", "_no_stack")
def test_an_interrupt_before_the_plan_is_there_leaves_nothing(tmp_path, monkeypatch):
    photos = make_data_set(tmp_path / "photos", per_label=12)
    interrupt_after(monkeypatch, "orchestrator.planning.plan.write_manifest")

    result = invoke("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring")

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (143, "Interrupted.")
    assert list(Storage(load_settings().storage).runs.iterdir()) == []


@pytest.fixture
def _no_stack(monkeypatch):
    """Plan for a broker that is never asked."""
    monkeypatch.setattr("orchestrator.embedded.users._join", lambda *_: None)


def test_a_detached_run_and_one_that_has_finished_are_not_paused(storage):
    class Named:
        def __init__(self, name):
            self.folder = storage.run(name)
            self.folder.path.mkdir(parents=True)
            self.folder.plan.touch()

    finished, detached, left = Named("finished"), Named("detached"), Named("left")
    finished.folder.result.touch()
    detached.folder.detached.touch()
    attended.extend([finished, detached, left])

    assert leave_runs() is left
    paused = [run for run in (finished, detached, left) if run.folder.paused.exists()]
    assert paused == [left]


def closed_terminal():
    master, slave = pty.openpty()
    os.close(master)
    return os.fdopen(slave, "w")


def pipe_without_reader():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def full_disk():
    return open("/dev/full", "w", encoding="utf-8")


@pytest.mark.parametrize("make", [closed_terminal, pipe_without_reader, full_disk])
def test_messages_that_nobody_can_read_are_lost_and_the_command_goes_on(monkeypatch, make):
    with make() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with robust_streams():
            for _ in range(2):
                print("word", file=sys.stderr, flush=True)


@pytest.mark.parametrize("make", [closed_terminal, pipe_without_reader])
def test_a_result_that_nobody_reads_ends_without_a_word(monkeypatch, make):
    with make() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(BrokenPipeError) as raised, writing_result():
            print("word", flush=True)
    assert raised.value.errno == errno.EPIPE


def test_a_result_on_a_full_disk_says_so(monkeypatch):
    with full_disk() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(PoetsError, match="stdout: No space left"), writing_result():
            print("word", flush=True)
