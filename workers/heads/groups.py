"""Photographs that may show one scene: copies, bursts, and names that belong together."""

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workers.processes.heartbeat import Heartbeat

# Lower than for copies (workers/reports/duplicates.py), since a wrong pair costs little here. Of
# 60 flowers (mobilenet_0.50_224) it finds 95 % saved again at quality 40, 95 % moved by a tenth,
# 97 % mirrored, 82 % turned by 5 degrees, 53 % at half the size. It joins 5 of the 925 flowers to
# others, and 16 of 1,000 photographs of trash, which were taken on one table.
MIN_SIMILARITY = 0.8
# Photographs of one scene are also far nearer than others are: where everything looks alike,
# likeness says little. The others begin behind the largest burst that is looked for. With 0.5
# rather than 0.25, 192 drawn shapes became 47 groups rather than 141.
_NEARER = 0.25
_LARGEST_BURST = 50
_ROWS = 256


def group_photographs(
    bottlenecks: NDArray[np.float32],
    known: Iterable[Sequence[Hashable | None]],
    heartbeat: Heartbeat,
) -> NDArray[np.int64]:
    """Return a number for each photograph, the same for those that must stay together.

    The work grows with the square of the photographs: 10,000 x 512 take some seconds.

    Args:
        bottlenecks: Shape (n, k).
        known: Each n long; two photographs with one value belong together. None: unknown.
    """
    # Only the trainer should pay for the import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(bottlenecks)
    pairs = [np.empty((0, 2), np.int64), *_look_alike(bottlenecks, heartbeat)]
    pairs += [_same(values) for values in known]
    rows, columns = np.concatenate(pairs).T
    table = coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(count, count))
    return np.asarray(connected_components(table, directed=False)[1], np.int64)


def _same(values: Sequence[Hashable | None]) -> NDArray[np.int64]:
    """Return each photograph with the first one of its value, shape (pairs, 2)."""
    first: dict[Hashable, int] = {}
    pairs = [
        (first.setdefault(value, row), row) for row, value in enumerate(values) if value is not None
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _look_alike(
    bottlenecks: NDArray[np.float32], heartbeat: Heartbeat
) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs that look alike, block by block."""
    count = len(bottlenecks)
    directions = bottlenecks - bottlenecks.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.maximum(lengths, np.finfo(np.float32).tiny)
    rank = min(_LARGEST_BURST, max(3, count // 10), count - 1)
    around = np.empty(count, np.float32)
    for start in range(0, count, _ROWS):
        heartbeat()
        cosines = directions[start : start + _ROWS] @ directions.T
        around[start : start + _ROWS] = -np.partition(-cosines, rank, axis=1)[:, rank]
    for start in range(0, count, _ROWS):
        heartbeat()
        cosines = directions[start : start + _ROWS] @ directions.T
        crowding = np.maximum(around[start : start + _ROWS, np.newaxis], around)
        near = (cosines >= MIN_SIMILARITY) & (1 - cosines <= _NEARER * (1 - crowding))
        rows, columns = np.nonzero(near)
        yield np.stack([rows + start, columns], axis=1)
