"""A process that ends when its parent ends, in whatever way; on Linux only."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel for a signal when the parent ends.

    Args:
        number: The signal.
        parent: Process id of the parent, where it is known; a process whose parent has
            ended before this call ends here.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
