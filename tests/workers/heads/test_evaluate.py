"""Figures of a head on images that it was not fitted on."""

import numpy as np
import pytest

from workers.heads import guesses
from workers.heads.evaluate import evaluate_head
from workers.heads.guesses import log_loss
from workers.heads.head import Examples, Head

LABELS = ("cat", "dog", "owl")
# The bottleneck is the logarithm of the probabilities themselves.
HEAD = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


def examples(*rows):
    """Return examples from (true label, probabilities)."""
    numbers = np.log(np.array([row for _, row in rows], np.float32))
    labels = np.array([LABELS.index(label) for label, _ in rows], np.int64)
    return Examples(numbers.reshape(-1, 3), labels, [f"{n}.jpg" for n in range(len(rows))])


MIXED = examples(
    ("cat", (0.8, 0.1, 0.1)),
    ("cat", (0.3, 0.6, 0.1)),
    ("dog", (0.0001, 0.9998, 0.0001)),
    ("owl", (0.05, 0.9, 0.05)),
    ("owl", (0.7, 0.2, 0.1)),
)


def test_rows_of_the_confusion_are_true_labels_and_columns_predicted_ones():
    found = evaluate_head(HEAD, MIXED, LABELS, lambda: None)

    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert found.confusion.dtype == np.int64


def test_accuracy_and_log_loss_are_means_over_the_images():
    found = evaluate_head(HEAD, MIXED, LABELS, lambda: None)

    assert found.images == 5
    assert found.accuracy == pytest.approx(2 / 5)
    expected = -np.log([0.8, 0.3, 0.9998, 0.05, 0.1]).mean()
    assert found.log_loss == pytest.approx(expected, rel=1e-5)
    assert log_loss(HEAD, MIXED, lambda: None) == pytest.approx(expected, rel=1e-5)


def test_many_blocks_give_the_same_figures_as_one_and_show_that_work_goes_on(monkeypatch):
    expected = evaluate_head(HEAD, MIXED, LABELS, lambda: None)
    monkeypatch.setattr(guesses, "_BLOCK", 2)
    beats = []

    found = evaluate_head(HEAD, MIXED, LABELS, lambda: beats.append(1))

    assert found.log_loss == pytest.approx(expected.log_loss, rel=1e-6)
    assert found.guesses.rank.tolist() == expected.guesses.rank.tolist()
    assert len(beats) == 3


def test_an_empty_split_has_no_figures():
    nothing = Examples(np.empty((0, 3), np.float32), np.empty(0, np.int64), [])

    found = evaluate_head(HEAD, nothing, LABELS, lambda: None)

    assert (found.images, found.accuracy, found.log_loss) == (0, None, None)
    assert (found.accuracy_interval, found.top5_accuracy, found.calibration_error) == (None,) * 3
    assert len(found.guesses) == 0
    assert found.confusion.tolist() == [[0] * 3] * 3


def test_a_probability_of_zero_gives_a_finite_loss():
    sure = Examples(np.array([[0, 2000, 0]], np.float32), np.array([0]), ["a.jpg"])

    found = evaluate_head(HEAD, sure, LABELS, lambda: None)

    assert 60 < found.log_loss < 100


def test_a_guess_says_how_sure_and_how_wrong_it_is():
    guesses = evaluate_head(HEAD, MIXED, LABELS, lambda: None).guesses

    assert guesses.predicted.tolist() == [0, 1, 1, 1, 0]
    assert guesses.score == pytest.approx([0.8, 0.6, 0.9998, 0.9, 0.7], rel=1e-5)
    assert guesses.label_score == pytest.approx([0.8, 0.3, 0.9998, 0.05, 0.1], rel=1e-5)
    assert guesses.margin == pytest.approx([0.7, 0.3, 0.9997, 0.85, 0.5], rel=1e-5)
    # Of two labels with 0.05 the one that comes first is the better one.
    assert guesses.rank.tolist() == [0, 1, 0, 2, 2]


def test_the_best_five_are_those_of_scikit_learn():
    from sklearn.metrics import top_k_accuracy_score

    generator = np.random.default_rng(0)
    logits = generator.normal(size=(300, 12)).astype(np.float32)
    labels = generator.integers(0, 12, 300)
    head = Head(np.eye(12, dtype=np.float32), np.zeros(12, np.float32))

    found = evaluate_head(head, Examples(logits, labels, [""] * 300), tuple("abcdefghijkl"), int)

    expected = top_k_accuracy_score(labels, logits, k=5, labels=range(12))
    assert found.top5_accuracy == pytest.approx(expected)
