"""One process a core, each of them working on slices of the photographs."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.rivals.meter import Meter

# Photographs that a process takes at a time; small, so that all end together.
SLICE = 32
Work = Callable[[list[str]], NDArray[np.float32]]
# One of each a process.
_work: Work | None = None
_barrier: Any = None


def open_pool(meter: Meter, open_work: Callable[[Any], Work]) -> Pool:
    """Start the processes, each with its own work, and let each work once to warm up."""
    cores = meter.material.cores
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    warm = meter.material.paths()[:SLICE]
    pool = context.Pool(cores, _set_up, (open_work, meter.material, warm, barrier))
    pool.map(_wait, range(cores), chunksize=1)
    return pool


def compute_in_pool(pool: Pool, paths: list[str]) -> NDArray[np.float32]:
    """Return bottlenecks in the order of the paths."""
    slices = [paths[i : i + SLICE] for i in range(0, len(paths), SLICE)]
    return np.concatenate(list(pool.imap(_compute, slices)))


def _set_up(open_work: Callable[[Any], Work], material: Any, warm: list[str], barrier: Any) -> None:
    global _work, _barrier
    _work, _barrier = open_work(material), barrier
    _work(warm)


def _wait(_: int) -> None:
    _barrier.wait()


def _compute(paths: list[str]) -> NDArray[np.float32]:
    assert _work is not None
    return _work(paths)
