"""What a head says of photographs that it was not fitted on, by cross-validation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.guesses import best_labels, guess_labels, guess_sets
from workers.heads.head import SIGMOID, Examples, Head
from workers.processes.heartbeat import Heartbeat

FOLDS = 10


@dataclass(frozen=True)
class Pool:
    """Photographs with their variants.

    Attributes:
        examples: Each photograph, followed by its variants.
        is_variant: bool, shape (rows,).
        groups: int64, shape (photographs,): those with one number are copies of each other.
    """

    examples: Examples
    is_variant: NDArray[np.bool_]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Unseen:
    """The best label of photographs, by heads that were fitted without them and their copies.

    Attributes:
        scores: float64, shape (n,).
        is_right: bool, shape (n,); of several labels an image, whether it has the best one.
    """

    scores: NDArray[np.float64]
    is_right: NDArray[np.bool_]


def guess_out_of_fold(
    pool: Pool, n_labels: int, seed: int, fit: Callable[[Examples], Head], heartbeat: Heartbeat
) -> Unseen:
    """Return what heads say of the first photograph of each group, which they were not fitted on.

    Only one of a group: ten copies of a photograph are no more evidence than one.

    Args:
        fit: Returns a head that was fitted to some rows of the pool.
    """
    photographs = np.flatnonzero(~pool.is_variant)
    photograph = np.cumsum(~pool.is_variant) - 1
    folds = assign_folds(pool.examples.labels[photographs], n_labels, pool.groups, seed)
    judged = np.unique(pool.groups, return_index=True)[1]
    scores, is_right = np.zeros(len(judged)), np.zeros(len(judged), np.bool_)
    for fold in np.unique(folds[judged]):
        heartbeat()
        others = np.flatnonzero(folds[photograph] != fold)
        if not len(others):
            continue  # all of them are copies of each other
        head = fit(_take(pool.examples, others))
        here = np.flatnonzero(folds[judged] == fold)
        part = _take(pool.examples, photographs[judged[here]])
        guess = guess_sets if head.activation == SIGMOID else guess_labels
        _, scores[here], is_right[here] = best_labels(guess(head, part, heartbeat))
    return Unseen(scores, is_right)


def assign_folds(
    labels: NDArray[np.int64] | NDArray[np.bool_],
    n_labels: int,
    groups: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Return the fold of each photograph: that of its group, with each label in all folds alike.

    Args:
        labels: As in `Examples`.
        groups: int64, shape (n,).
    """
    table = np.eye(n_labels)[labels] if labels.ndim == 1 else labels.astype(float)
    numbers, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(numbers), n_labels))
    np.add.at(counts, group, table)
    sizes = np.bincount(group, minlength=len(numbers))
    shuffled = np.random.default_rng(seed).permutation(len(numbers))
    fold_of = np.empty(len(numbers), np.int64)
    have, filled = np.zeros((FOLDS, n_labels)), np.zeros(FOLDS)
    # Large groups first, while there is room for them.
    for number in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold = int(np.lexsort((filled, have @ counts[number]))[0])
        fold_of[number] = fold
        have[fold] += counts[number]
        filled[fold] += sizes[number]
    return fold_of[group]


def _take(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    return Examples(examples.bottlenecks[rows], examples.labels[rows], [])
