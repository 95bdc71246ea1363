"""Inspect many image files at once, one process a core."""

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)

from workers.images.inspection import Inspection, Inspector
from workers.processes.child import IMAGE_TIMEOUT_S


def inspect_files(
    paths: Iterable[str], processes: int, is_quick: bool = False, timeout_s: float = IMAGE_TIMEOUT_S
) -> Iterator[tuple[int, Inspection]]:
    """Yield the index of each path and what the file is, in the order in which they are done.

    Args:
        timeout_s: For one image; one that takes longer, twice, is given up.

    Raises:
        StorageError: When the machine or the mount fails, or no process can start.
    """
    is_over = threading.Event()
    free: queue.SimpleQueue[Inspector] = queue.SimpleQueue()

    def heartbeat() -> None:
        if is_over.is_set():
            raise CancelledError

    def inspect(path: str) -> Inspection:
        heartbeat()
        inspector = free.get()
        try:
            return inspector.inspect(path, timeout_s)
        finally:
            free.put(inspector)

    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            inspector = Inspector(heartbeat, is_quick)
            free.put(inspector)
            stack.callback(inspector.stop)
        # Its threads end last: the kernel ends a child with the thread that started it.
        pool = stack.enter_context(ThreadPoolExecutor(processes))
        stack.callback(is_over.set)
        waiting: dict[Future[Inspection], int] = {}
        for index, path in enumerate(paths):
            waiting[pool.submit(inspect, path)] = index
            if len(waiting) >= 2 * processes:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        for future in as_completed(waiting):
            yield waiting[future], future.result()
