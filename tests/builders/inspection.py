"""A process that inspects the images of many tests: its start takes longer than its work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from workers.images.inspection import Inspection, Inspector
from workers.processes.heartbeat import Heartbeat, no_heartbeat


@contextmanager
def keep_inspector() -> Iterator[type[Inspector]]:
    """Yield an `Inspector` of which all instances share one process."""
    kept, one_at_a_time = Inspector(no_heartbeat, is_quick=False), threading.Lock()
    # Here, since the kernel ends a child with the thread that started it.
    kept._child.wait_until_ready()

    class Borrowed(Inspector):
        def __init__(self, heartbeat: Heartbeat, is_quick: bool) -> None:
            super().__init__(heartbeat, is_quick)
            self._child = kept._child

        def inspect(self, path: str, timeout_s: float = 60.0) -> Inspection:
            with one_at_a_time:
                return super().inspect(path, timeout_s)

        def stop(self) -> None:
            """Leave the process to the next."""

    try:
        yield Borrowed
    finally:
        kept.stop()
