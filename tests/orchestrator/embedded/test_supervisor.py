"""How the supervisor keeps its parts running, and when it gives up."""

import sys

import pytest

from orchestrator.embedded import supervisor
from orchestrator.embedded.supervisor import _Service
from tests.builders.programs import wait_until
from workers.errors import BrokerError

FAILS = "print('starting', flush=True); import nothing"
SAYS_READY = "from workers.processes.readiness import announce_ready; announce_ready(); exit(3)"
IS_KILLED = "import os; os.kill(os.getpid(), 9)"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return what makes a service out of a program, which may start again at once."""
    monkeypatch.setattr(supervisor, "_RESTART_AFTER_S", 0)
    log = tmp_path / "stack.log"
    log.write_text("Traceback (most recent call last):\nError: of an earlier part\n")

    def make(program):
        to_log = f"import os; os.dup2(os.open({str(log)!r}, os.O_WRONLY | os.O_APPEND), 1)"
        command = [sys.executable, "-c", f"{to_log}; os.dup2(1, 2); {program}"]
        return _Service("worker", command, tmp_path / "worker.ready", log)

    return make


def run_once(service):
    service.keep_running()
    wait_until(lambda: not service.is_running())


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (FAILS, "its worker cannot start: ModuleNotFoundError: No module named 'nothing' (log: "),
        (IS_KILLED, "its worker cannot start: killed by SIGKILL (log: "),
        ("exit(7)", "its worker cannot start: exit code 7 (log: "),
    ],
)
def test_a_part_that_dies_three_times_before_it_is_ready_is_given_up(start, program, reason):
    service = start(program)
    for _ in range(3):
        run_once(service)

    with pytest.raises(BrokerError) as raised:
        service.keep_running()
    assert str(raised.value).startswith(reason)


def test_a_part_that_had_begun_its_work_is_always_started_again(start):
    service = start(SAYS_READY)
    for _ in range(5):
        run_once(service)

    assert service.failed_starts == 0
