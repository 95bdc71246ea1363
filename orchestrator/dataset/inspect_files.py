"""Inspect many image files at once, one process a core."""

import queue
import threading
from collections.abc import Iterable, Iterator

from workers.images.inspection import Inspection, Inspector
from workers.processes.child import IMAGE_TIMEOUT_S

_Answer = tuple[int, Inspection] | Exception | None


class _StoppedError(Exception):
    """Nobody waits for the answer any more."""


def inspect_files(
    paths: Iterable[str], processes: int, is_quick: bool = False, timeout_s: float = IMAGE_TIMEOUT_S
) -> Iterator[tuple[int, Inspection]]:
    """Yield the place of each path, counted from 0, and what the file is, as they come.

    Args:
        timeout_s: For one image; one that takes longer, twice, is given up.

    Raises:
        StorageError: When the machine or the mount is in trouble, or no process can start.
    """
    todo = enumerate(paths)
    turn = threading.Lock()
    answers: queue.Queue[_Answer] = queue.Queue()
    is_over = threading.Event()

    def heartbeat() -> None:
        if is_over.is_set():
            raise _StoppedError

    def work() -> None:
        inspector = Inspector(heartbeat, is_quick)
        try:
            while not is_over.is_set():
                with turn:
                    place, path = next(todo, (-1, ""))
                if place < 0:
                    break
                answers.put((place, inspector.inspect(path, timeout_s)))
        except _StoppedError:
            pass
        # Whatever it is: an image must not be missing silently.
        except Exception as error:
            answers.put(error)
        finally:
            # Before the thread ends: the kernel ends a child with the thread that started it.
            inspector.stop()
            answers.put(None)

    threads = [threading.Thread(target=work) for _ in range(processes)]
    for thread in threads:
        thread.start()
    working = processes
    try:
        while working:
            answer = answers.get()
            if isinstance(answer, Exception):
                raise answer
            if answer is None:
                working -= 1
            else:
                yield answer
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
