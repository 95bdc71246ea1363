"""Semaphores, which a worker cannot do without."""

import pytest

from workers.errors import MachineError
from workers.processes.semaphores import check_semaphores


def test_a_machine_that_gives_semaphores_is_accepted():
    check_semaphores()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(30, "Read-only file system"), "made: Read-only file system. .* /dev/shm"),
        (OSError(28, "No space left on device"), "made: No space left on device"),
        (ImportError("no sem_open here"), "made: no sem_open here"),
    ],
)
def test_one_that_does_not_is_refused_with_the_reason(monkeypatch, error, reason):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refuse)

    with pytest.raises(MachineError, match=reason):
        check_semaphores()
