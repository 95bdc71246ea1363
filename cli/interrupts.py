"""Ctrl-C, SIGTERM and SIGHUP end a command in order, with a sentence and their own exit code."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Whoever has other handlers, or none (`nohup`, a job in the background of a script), wants them.
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], int]]:
    """Let SIGTERM (`docker stop`) and SIGHUP (a closed terminal) raise KeyboardInterrupt too.

    Each of the two does so once, since many that send them do so twice; Ctrl-C does always.

    Yields:
        What tells the exit code after an interrupt: 128 and the number of the first signal.
    """
    seen: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        is_repeated = number in seen and number != signal.SIGINT
        seen.append(number)
        if not is_repeated:
            raise KeyboardInterrupt

    replaced = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in _SIGNALS}
        replaced = {number: handler for number, handler in found.items() if handler in _DEFAULTS}
    try:
        for number in replaced:
            signal.signal(number, interrupt)
        yield lambda: 128 + seen[0] if seen else INTERRUPTED
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
