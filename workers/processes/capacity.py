"""What this process may use of its machine, and how many processes and threads that is enough for.

A container sees all cores and all memory of its host; what it may use is written in its cgroups,
version 2 or 1, and in those above them, which limit it too.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MEGABYTE = 1024**2
# A CPU child with the default backbone takes 100 to 150 MB (its own part of shared pages);
# larger backbones, training, and decoding a large photograph take more.
CHILD_BYTES = 250 * MEGABYTE
# Celery's parent 92 MB; in the embedded stack also the command 102, supervisor 47, Valkey 6.
BESIDE_BYTES = 400 * MEGABYTE
# Two threads take the default backbone from 304 to 605 images a second on two cores; each
# further one gains less.
_MOST_THREADS = 4


@dataclass(frozen=True)
class Choice:
    """A number that poets chose, and why, in words for a person."""

    value: int
    reason: str

    def __str__(self) -> str:
        return f"{self.value}: {self.reason}"


@dataclass(frozen=True)
class Capacity:
    """What this process may use.

    Attributes:
        cores: Number of cores that the scheduler may put it on.
        quota: Cores' worth of time that its cgroups allow, such as 1.5; None for no limit.
        memory_bytes: The machine's memory, or what its cgroups allow if that is less.
        is_memory_limited: Whether its cgroups allow less.
    """

    cores: int
    quota: float | None
    memory_bytes: int
    is_memory_limited: bool = False

    @property
    def usable_cores(self) -> int:
        """Whole cores; a part of one counts as one."""
        return self.cores if self.quota is None else max(1, min(self.cores, math.ceil(self.quota)))

    @property
    def memory_text(self) -> str:
        """Such as ``512 MB of memory that the cgroup allows``."""
        whose = "that the cgroup allows" if self.is_memory_limited else "of this machine"
        return f"{self.memory_bytes // MEGABYTE:,} MB of memory {whose}"


def find_capacity(root: Path = Path("/")) -> Capacity:
    """Return what this process may use.

    Args:
        root: The folder that holds ``proc`` and ``sys``.
    """
    memory = _machine_memory(root)
    # Version 1 writes "no limit" as a number that no machine has.
    allowed = min([memory, *_memory_limits(root)])
    quota = min(_cpu_quotas(root), default=None)
    return Capacity(_allowed_cores(), quota, allowed, is_memory_limited=allowed < memory)


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded, and its GPUs are not hidden; needs no TensorFlow."""
    return not _hides_gpus(os.environ) and Path("/dev/nvidiactl").exists()


def _hides_gpus(environ: Mapping[str, str]) -> bool:
    # CUDA sees the devices before the first that is none: a number, GPU-... or MIG-...
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return False
    first = visible.partition(",")[0].strip()
    return not (first.isdecimal() or first.startswith(("GPU-", "MIG-")))


def uses_gpu(device: str) -> bool:
    """Whether the setting `device` means a GPU on this machine."""
    return device == "gpu" or (device == "auto" and has_gpu())


def default_concurrency(device: str) -> Choice:
    """Return how many processes a worker should have here."""
    return choose_processes(find_capacity(), uses_gpu(device))


def default_threads(device: str) -> Choice:
    """Return how many threads the network should have in each of them."""
    return choose_threads(find_capacity(), uses_gpu(device))


def choose_processes(capacity: Capacity, on_gpu: bool) -> Choice:
    """Return how many processes a worker should have."""
    if on_gpu:
        return Choice(1, "one process feeds a GPU with large batches")
    cores = capacity.usable_cores
    fitting = max(1, (capacity.memory_bytes - BESIDE_BYTES) // CHILD_BYTES)
    if fitting < cores:
        held = f"the {capacity.memory_text} hold no more at {CHILD_BYTES // MEGABYTE} MB each"
        return Choice(fitting, f"{held}, for {_count(cores, 'core')}")
    if capacity.quota is None or capacity.quota > capacity.cores:
        return Choice(cores, "one per core")
    allowed = f"its cgroup allows {capacity.quota:g} of {_count(capacity.cores, 'core')}"
    is_whole = capacity.quota == cores
    return Choice(cores, f"one per core; {allowed}" + ("" if is_whole else ", rounded up"))


def choose_threads(capacity: Capacity, on_gpu: bool) -> Choice:
    """Return how many threads the network should have in each process of a worker."""
    processes = choose_processes(capacity, on_gpu).value
    spare = capacity.usable_cores // processes
    if on_gpu or spare < 2:
        return Choice(1, "a process per core that decodes and computes by itself is fastest")
    threads = min(spare, _MOST_THREADS)
    return Choice(threads, f"{_count(spare, 'core')} for each process that the memory holds")


def is_too_small(capacity: Capacity) -> bool:
    """Whether not even one process fits into the memory."""
    return capacity.memory_bytes < BESIDE_BYTES + CHILD_BYTES


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _allowed_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine_memory(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the cores' worth of time of each cgroup that has a limit."""
    for folder in _cgroups(root, "cpu"):
        words = " ".join(_lines(folder / "cpu.max")).split()
        if not words:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [word for name in names for word in _lines(folder / name)]
        # Else "max", -1, or neither file.
        if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
            yield int(words[0]) / int(words[1])


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (int(word) for word in _lines(folder / name)[:1] if word.isdecimal())


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folder of each cgroup that limits this process, up to what is mounted."""
    paths: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        # Version 2 has one hierarchy, whose list of controllers is empty.
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        mounted, where = mount.split()[3:5]
        kind, _, *options = kind.split()
        is_version_1 = kind == "cgroup" and controller in ",".join(options).split(",")
        name = controller if is_version_1 else ""
        if (is_version_1 or kind == "cgroup2") and name in paths:
            top, inner = root / where.lstrip("/"), _below(paths[name], mounted)
            yield from (top / part for part in (inner, *inner.parents))


def _below(path: str, mounted: str) -> PurePosixPath:
    """Return the path of a cgroup below what is mounted, which may be a part of the tree."""
    pure = PurePosixPath(path)
    # A container may see its cgroup mounted at the top, but read its path on the host.
    if ".." in pure.parts or not pure.is_relative_to(mounted):
        return PurePosixPath()
    return pure.relative_to(mounted)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
