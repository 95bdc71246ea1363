"""Images whose label is probably wrong: those that a head which never saw them contradicts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.heads.evaluate import Guesses, guess_labels
from workers.heads.fit import fit_at_strength
from workers.heads.head import Examples
from workers.storage.plan import TrainingOptions

# A training image is judged by a head fitted on the other folds.
_FOLDS = 5
# Each of those heads is fitted on at most so many examples: 100,000 x 512 with 100 labels
# would take minutes otherwise, and a rank needs no perfect head.
_FOLD_EXAMPLES = 10_000


@dataclass(frozen=True)
class LabelError:
    """One image that was probably given another label than its own.

    Attributes:
        split, row: Where it is among the examples.
        label, suggested: Numbers of labels.
        score: Probability of the suggested label minus that of its own, 0 to 1.
    """

    split: str
    row: int
    label: int
    suggested: int
    score: float


def guess_training(
    training: Examples,
    n_labels: int,
    strength: float,
    options: TrainingOptions,
    beat: Callable[[], None],
) -> Guesses:
    """Return a guess for each training example from a head that was fitted without it.

    The folds follow from the paths alone. Memory does not grow with the examples, but for
    the guesses themselves.
    """
    folds = np.array([_fold(path) for path in training.paths], np.int64)
    columns = [np.zeros(len(training), kind) for kind in (int, int, float, float, float, int)]
    generator = np.random.default_rng(options.seed)
    for fold in range(_FOLDS):
        judged, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(judged) or not len(others):
            continue
        if len(others) > _FOLD_EXAMPLES:
            others = np.sort(generator.choice(others, _FOLD_EXAMPLES, replace=False))
        head = fit_at_strength(_take(training, others), n_labels, strength, options, beat)
        for start in range(0, len(judged), _FOLD_EXAMPLES):
            rows = judged[start : start + _FOLD_EXAMPLES]
            found = guess_labels(head, _take(training, rows), beat)
            for name, column in zip(vars(found), columns, strict=True):
                column[rows] = getattr(found, name)
    return Guesses(*columns)


def find_label_errors(guesses: dict[str, Guesses], n_labels: int) -> list[LabelError]:
    """Return the images whose label is probably wrong, most certain first.

    Confident learning (Northcutt et al. 2021, arXiv:1911.00068): an image is suspect when
    another label is predicted with at least the mean score that this label has on its own
    images. So a label that is hard to learn needs less to be suggested, and one that is
    easy needs more.

    Args:
        guesses: By split; each from a head that was fitted without the image.
    """
    labels = np.concatenate([one.labels for one in guesses.values()])
    own = np.concatenate([one.label_score for one in guesses.values()])
    count = np.maximum(np.bincount(labels, minlength=n_labels), 1)
    usual = np.bincount(labels, own, n_labels) / count
    found = [
        LabelError(
            split,
            int(row),
            int(one.labels[row]),
            int(one.predicted[row]),
            float(one.score[row] - one.label_score[row]),
        )
        for split, one in guesses.items()
        for row in np.flatnonzero(~one.is_right & (one.score >= usual[one.predicted]))
    ]
    return sorted(found, key=lambda error: -error.score)


def _fold(path: str) -> int:
    return hashlib.sha256(path.encode()).digest()[0] % _FOLDS


def _take(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    return Examples(examples.bottlenecks[rows], examples.labels[rows], [])
