"""Near-copies of images under another split or label, found by their bottlenecks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples
from workers.processes.heartbeat import Heartbeat

# Both limits were chosen on 925 flowers and 1,000 photographs of trash (mobilenet_0.50_224),
# where they leave six pairs, each the same photograph or two shots of one scene. They find
# 97 to 100 % of the copies saved again as JPEG of quality 60, 55 to 72 % at quality 30, all
# brighter ones, 97 % of those with 2 % cropped from each side, 72 % of mirrored ones, and a
# third of those at half the size.
MIN_SIMILARITY = 0.9
# A copy is also far nearer than the other images: its distance (1 - cosine) is at most this
# share of the distance to the tenth nearest. Without this limit 400 drawn flowers and random
# weights, where everything looks alike, gave 2,044 pairs; with it 6, and no copy was lost.
_NEARER = 0.25
_NEIGHBOUR = 10
# The work grows with the square of the images: 100,000 take about 20 s.
MAX_IMAGES = 120_000
# In a larger set random projections are compared first (Johnson and Lindenstrauss 1984).
_EXACT_IMAGES = 20_000
_PROJECTED = 64
# The cosine of two projections is off by (1 - cosine ** 2) / sqrt(64) = 0.024; with three
# times that as allowance, one true pair in a thousand is lost.
_ALLOWANCE = 0.07
_MAX_PAIRS = 1_000
_BLOCK = 2_048
# Compared with all images at once.
_ROWS = 64


@dataclass(frozen=True)
class NearCopy:
    """Two examples that look the same; `similarity` is the cosine of centred bottlenecks."""

    split: str
    row: int
    other_split: str
    other_row: int
    similarity: float


def find_near_copies(examples: dict[str, Examples], heartbeat: Heartbeat) -> list[NearCopy] | None:
    """Return pairs of examples that look the same but differ in split or label.

    The most similar come first, at most 1,000. None when there are more than MAX_IMAGES
    examples: nothing was compared then.
    """
    total = sum(map(len, examples.values()))
    is_large = total > _EXACT_IMAGES
    if total > MAX_IMAGES:
        return None
    if total < 2:
        return []
    positions = [(split, row) for split, part in examples.items() for row in range(len(part))]
    mean = sum(part.bottlenecks.sum(axis=0, dtype=np.float64) for part in examples.values()) / total
    directions = _project(examples, mean.astype(np.float32), is_large, heartbeat)
    # Pairs within a group, of one split and label, are harmless.
    n_labels = 1 + max(int(part.labels.max(initial=0)) for part in examples.values())
    groups = np.concatenate(
        [part.labels + i * n_labels for i, part in enumerate(examples.values())]
    )
    least = MIN_SIMILARITY - (_ALLOWANCE if is_large else 0)
    found = []
    for one, other in _stand_out(
        directions, _similar_pairs(directions, groups, least, heartbeat), heartbeat
    ):
        (split, row), (other_split, other_row) = positions[one], positions[other]
        similarity = _cosine(examples, mean, positions[one], positions[other])
        if similarity >= MIN_SIMILARITY:
            found.append(NearCopy(split, row, other_split, other_row, round(similarity, 4)))
    return sorted(found, key=lambda pair: -pair.similarity)


def _project(
    examples: dict[str, Examples],
    mean: NDArray[np.float32],
    is_large: bool,
    heartbeat: Heartbeat,
) -> NDArray[np.float32]:
    """Return a unit vector for each example, of its whole bottleneck or of 64 projections."""
    matrix = np.random.default_rng(0).normal(size=(len(mean), _PROJECTED)).astype(np.float32)
    parts = []
    for part in examples.values():
        for start in range(0, len(part), _BLOCK):
            heartbeat()
            centred = part.bottlenecks[start : start + _BLOCK] - mean
            parts.append(centred @ matrix if is_large else centred)
    directions = np.concatenate(parts)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return directions


def _similar_pairs(
    directions: NDArray[np.float32],
    groups: NDArray[np.int64],
    least: float,
    heartbeat: Heartbeat,
) -> NDArray[np.int64]:
    """Return the most similar pairs of rows from different groups, shape (n, 2).

    Block by block, so that memory stays bounded however many pairs there are.
    """
    kept = np.empty((0, 2), np.int64)
    cosines = np.empty(0, np.float32)
    for top in range(0, len(directions), _BLOCK):
        for left in range(top, len(directions), _BLOCK):
            heartbeat()
            table = directions[top : top + _BLOCK] @ directions[left : left + _BLOCK].T
            rows, columns = np.nonzero(table >= least)
            is_new = groups[rows + top] != groups[columns + left]
            if left == top:
                is_new &= rows < columns
            rows, columns = rows[is_new], columns[is_new]
            kept = np.concatenate([kept, np.stack([rows + top, columns + left], axis=1)])
            cosines = np.concatenate([cosines, table[rows, columns]])
            if len(cosines) > _MAX_PAIRS:
                best = np.argsort(-cosines, kind="stable")[:_MAX_PAIRS]
                kept, cosines = kept[best], cosines[best]
                least = max(least, float(cosines[-1]))
    return kept


def _stand_out(
    directions: NDArray[np.float32], pairs: NDArray[np.int64], heartbeat: Heartbeat
) -> NDArray[np.int64]:
    """Return the pairs that are far nearer to each other than to the images around them."""
    rows, indices = np.unique(pairs, return_inverse=True)
    # The nearest of all is the image itself.
    rank = min(_NEIGHBOUR, len(directions) - 1)
    around = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS):
        heartbeat()
        cosines = directions[rows[start : start + _ROWS]] @ directions.T
        around[start : start + _ROWS] = -np.partition(-cosines, rank, axis=1)[:, rank]
    crowding = around[indices.reshape(pairs.shape)].max(axis=1)
    cosine = (directions[pairs[:, 0]] * directions[pairs[:, 1]]).sum(axis=1)
    return np.compress(1 - cosine <= _NEARER * (1 - crowding), pairs, axis=0)


def _cosine(
    examples: dict[str, Examples],
    mean: NDArray[np.float64],
    one: tuple[str, int],
    other: tuple[str, int],
) -> float:
    first, second = (examples[split].bottlenecks[row] - mean for split, row in (one, other))
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / length if length else 0.0
