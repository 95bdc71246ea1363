"""Wall time, CPU time and memory of a program and all processes that it starts."""

import ctypes
import json
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from tests.benchmarks.material import Material, agreement, open_material

_PR_SET_CHILD_SUBREAPER = 36


class Meter:
    """Measures what lies between `start` and `stop`; all before `start` is start-up.

    Daemons that the program leaves behind count too: on Linux they become its children.
    """

    def __init__(self) -> None:
        """Read the command line: the folder of the material."""
        self.material: Material = open_material(sys.argv[1])
        self._process = psutil.Process()
        adopt_orphans()

    def start(self) -> None:
        self._start_up_s = time.time() - self._process.create_time()
        self._cpu_s = tree_cpu_s(self._process)
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End the window; processes whose memory counts must still be alive."""
        self._wall_s = time.perf_counter() - self._started
        self._cpu_s = tree_cpu_s(self._process) - self._cpu_s
        self._memory = tree_peak_bytes(self._process)

    def wait_for_daemons(self, timeout_s: float) -> None:
        """Wait until all that was started has ended by itself."""
        psutil.wait_procs(self._process.children(recursive=True), timeout_s)

    def report(self, bottlenecks: NDArray[np.float32] | None, *packages: str, **more: Any) -> None:
        """Print the line.

        Args:
            bottlenecks: In the order of `Material.paths`; None where none were asked for.
            packages: Those that did the work; their versions are part of the line.
            more: Added to the line; replaces what was measured.
        """
        similarity = None
        if bottlenecks is not None:
            similarity = agreement(bottlenecks, np.load(self.material.bottlenecks))
        line = {
            "images": len(self.material.paths()),
            "wall_s": self._wall_s,
            "cpu_s": self._cpu_s,
            "start_up_s": self._start_up_s,
            "peak_rss_mb": self._memory / 1e6,
            "agreement": similarity,
            "versions": {package: version(package) for package in packages},
            **more,
        }
        print(json.dumps(line), flush=True)


def adopt_orphans() -> None:
    """Let daemons become children of this process rather than of process 1 (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def tree_cpu_s(root: psutil.Process) -> float:
    """Return user and system seconds of a process and of all that it has started."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            # Its own, and those of its children that have ended.
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def tree_peak_bytes(root: psutil.Process) -> int:
    """Return the sum of the largest memory that each process now alive has had.

    Pages that processes share are counted in each of them.
    """
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            with open(f"/proc/{process.pid}/status") as status:
                peaks = [line.split()[1] for line in status if line.startswith("VmHWM")]
            total += 1024 * int(peaks[0]) if peaks else 0  # none: it has just ended
        except FileNotFoundError:
            continue
    return total
