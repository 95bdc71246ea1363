"""Inspect many image files at once, one process a core."""

import queue
import threading
from collections.abc import Iterable, Iterator

from workers.images.inspection import Inspection, Inspector
from workers.processes.child import IMAGE_TIMEOUT_S


class _StoppedError(Exception):
    """Nobody waits for the answer any more."""


def inspect_files(
    paths: Iterable[str], processes: int, is_quick: bool = False, timeout_s: float = IMAGE_TIMEOUT_S
) -> Iterator[tuple[int, Inspection]]:
    """Yield the index of each path and what the file is, in the order in which they are done.

    Args:
        timeout_s: For one image; one that takes longer, twice, is given up.

    Raises:
        StorageError: When the machine or the mount fails, or no process can start.
    """
    inspectors = _Inspectors(paths, is_quick, timeout_s)
    threads = [threading.Thread(target=inspectors.work) for _ in range(processes)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            yield from inspectors.answers_of_one()
    finally:
        inspectors.is_over.set()
        for thread in threads:
            thread.join()


class _Inspectors:
    """What the threads share, each of which asks one process."""

    def __init__(self, paths: Iterable[str], is_quick: bool, timeout_s: float) -> None:
        self.is_over = threading.Event()
        self._is_quick, self._timeout_s = is_quick, timeout_s
        self._todo, self._lock = enumerate(paths), threading.Lock()
        # None from a thread that has no more.
        self._answers: queue.Queue[tuple[int, Inspection] | Exception | None] = queue.Queue()

    def work(self) -> None:
        """Inspect files until there are no more, or nobody waits for them."""
        inspector = Inspector(self._heartbeat, self._is_quick)
        try:
            while (task := self._next()) and not self.is_over.is_set():
                index, path = task
                self._answers.put((index, inspector.inspect(path, self._timeout_s)))
        except _StoppedError:
            pass
        # Whatever it is: an image must not be missing silently.
        except Exception as error:
            self._answers.put(error)
        finally:
            # Before the thread ends: the kernel ends a child with the thread that started it.
            inspector.stop()
            self._answers.put(None)

    def answers_of_one(self) -> Iterator[tuple[int, Inspection]]:
        """Yield answers until one more thread has ended."""
        while (answer := self._answers.get()) is not None:
            if isinstance(answer, Exception):
                raise answer
            yield answer

    def _next(self) -> tuple[int, str] | None:
        with self._lock:
            return next(self._todo, None)

    def _heartbeat(self) -> None:
        if self.is_over.is_set():
            raise _StoppedError
