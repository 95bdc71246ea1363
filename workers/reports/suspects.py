"""Images whose label is probably wrong, in the eyes of a head that was not fitted on them."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.fit import fit_at_strength
from workers.heads.guesses import Guesses, guess_labels
from workers.heads.head import Examples, Head
from workers.processes.heartbeat import Heartbeat
from workers.storage.plan import TrainingOptions

# A training image is judged by a head fitted on the other folds.
_FOLDS = 5
# Each of those heads is fitted on at most this many examples: 100,000 x 512 with 100 labels
# would take minutes, and ranking images needs no perfect head.
_FOLD_EXAMPLES = 10_000
# A judge must not learn the wrong labels, so its L2 is this many times stronger than is best
# for a classifier. With 20 labels of two classes swapped, 10.2 rather than 8.9 of the first
# 20 suspects were among them on flowers, 11.2 rather than 9.7 on trash (means of 12).
_JUDGES_STRENGTH = 10


@dataclass(frozen=True)
class LabelError:
    """One image that was probably given a wrong label.

    Attributes:
        split, row: Position among the examples.
        label, suggested: Indices of labels.
        score: Probability of the suggested label, given that it is one of the two, 0.5 to 1.
    """

    split: str
    row: int
    label: int
    suggested: int
    score: float


def guess_unseen(
    examples: dict[str, Examples],
    n_labels: int,
    strength: float,
    options: TrainingOptions,
    heartbeat: Heartbeat,
) -> dict[str, Guesses]:
    """Return by split a guess for each example from a head that was fitted without it.

    Held-out examples are judged by a head that was fitted on "training", training examples by
    cross-validation in folds that follow from the paths alone. At most _FOLD_EXAMPLES
    bottlenecks are copied at a time.

    Args:
        strength: L2 that was chosen for the classifier.
    """
    training = examples["training"]
    generator = np.random.default_rng(options.seed)

    def fit_on(rows: NDArray[np.int64]) -> Head:
        if len(rows) > _FOLD_EXAMPLES:
            rows = np.sort(generator.choice(rows, _FOLD_EXAMPLES, replace=False))
        chosen = _take(training, rows)
        return fit_at_strength(chosen, n_labels, _JUDGES_STRENGTH * strength, options, heartbeat)

    folds = np.array([_fold(path) for path in training.paths], np.int64)
    guesses = Guesses.empty(len(training))
    for fold in range(_FOLDS):
        judged, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(judged) or not len(others):
            continue
        head = fit_on(others)
        for start in range(0, len(judged), _FOLD_EXAMPLES):
            rows = judged[start : start + _FOLD_EXAMPLES]
            guesses.put(rows, guess_labels(head, _take(training, rows), heartbeat))
    head = fit_on(np.arange(len(training)))
    return {
        split: guesses if split == "training" else guess_labels(head, part, heartbeat)
        for split, part in examples.items()
    }


def find_label_errors(guesses: dict[str, Guesses], n_labels: int) -> list[LabelError]:
    """Return the images whose label is probably wrong, most certain first.

    Confident learning (Northcutt et al. 2021, arXiv:1911.00068). An image counts for a label
    when its best score is at least the mean score of this label on images that have it, so a
    label that is hard to learn needs less. Of the images of label i, the share that counts for
    label j is taken to be wrong: those of which the judge is most certain.

    Args:
        guesses: By split; each from a head that was fitted without the image.
    """
    every = Guesses.concatenate(list(guesses.values()))
    positions = [(split, row) for split, one in guesses.items() for row in range(len(one))]
    images = np.bincount(every.labels, minlength=n_labels)
    usual = np.bincount(every.labels, every.label_score, n_labels) / np.maximum(images, 1)
    counts = np.zeros((n_labels, n_labels))
    is_counted = every.score >= usual[every.predicted]
    np.add.at(counts, (every.labels[is_counted], every.predicted[is_counted]), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    left = np.rint(share * images[:, np.newaxis]).astype(np.int64)
    certainty = every.score / (every.score + every.label_score)
    wrong = np.flatnonzero(~every.is_right)
    found = []
    for i in wrong[np.argsort(-certainty[wrong], kind="stable")]:
        split, row = positions[i]
        label, suggested = int(every.labels[i]), int(every.predicted[i])
        if left[label, suggested]:
            left[label, suggested] -= 1
            found.append(LabelError(split, row, label, suggested, float(certainty[i])))
    return found


def _fold(path: str) -> int:
    return hashlib.sha256(path.encode()).digest()[0] % _FOLDS


def _take(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    return Examples(examples.bottlenecks[rows], examples.labels[rows], [])
