"""Gradient descent draws its batches as the codelab's retrain.py does: a label, then an image."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders.heads import EMPTY, LABELS
from workers.heads.fit import fit_head
from workers.heads.head import Examples
from workers.storage.plan import TrainingOptions

# Nothing but the bias can learn from these. After one step from zero with a rate of 1 it is the
# share of each label in the batch, less the same third.
COUNTS = (900, 90, 10)
DRAWN = 10_000
ONE_STEP = TrainingOptions(
    solver="sgd", class_weight="balanced", steps=1, learning_rate=1.0, train_batch_size=DRAWN
)


def make_unequal(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(0).shuffle(labels)
    return Examples(np.zeros((len(labels), 4), np.float32), labels, [str(n) for n in labels])


def fit(options, training, validation=EMPTY):
    return fit_head(training, validation, len(LABELS), options, lambda: None)


def shares(options):
    return fit(options, make_unequal(COUNTS)).head.bias + 1 / 3


def test_every_label_is_drawn_as_often_as_any_other():
    assert shares(ONE_STEP) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_the_images_of_a_label_are_drawn_alike():
    training = make_unequal(COUNTS)
    numbered = training.bottlenecks.copy()
    rare = np.flatnonzero(training.labels == 2)
    # Each of the rare images has a number of its own, which the weights of its label add up.
    numbered = np.zeros((len(training), len(rare)), np.float32)
    numbered[rare, np.arange(len(rare))] = 1

    found = fit(ONE_STEP, replace(training, bottlenecks=numbered)).head.weights[:, 2]

    assert found == pytest.approx([2 / 3 / 3 / len(rare)] * len(rare), abs=0.01)


def test_without_balance_every_image_counts_the_same():
    drawn = shares(replace(ONE_STEP, class_weight="none"))

    assert drawn == pytest.approx(np.array(COUNTS) / sum(COUNTS), abs=0.02)


def test_validation_batches_are_drawn_like_training_batches():
    options = replace(ONE_STEP, learning_rate=1e-3, validation_batch_size=DRAWN)
    # Trained on one label alone, the head says that label of everything.
    training, validation = make_unequal((50, 0, 0)), make_unequal(COUNTS)

    drawn = fit(options, training, validation).curve[-1]
    every_one = fit(replace(options, validation_batch_size=-1), training, validation).curve[-1]

    assert drawn.validation_accuracy == pytest.approx(1 / 3, abs=0.02)
    assert every_one.validation_accuracy == pytest.approx(0.9)
    assert (drawn.validation_images, every_one.validation_images) == (DRAWN, sum(COUNTS))


def test_a_label_without_an_image_is_not_drawn():
    found = fit(ONE_STEP, make_unequal((80, 0, 20))).head.bias + 1 / 3

    assert found == pytest.approx([1 / 2, 0, 1 / 2], abs=0.02)


def test_a_batch_of_all_images_holds_each_once():
    drawn = shares(replace(ONE_STEP, train_batch_size=-1))

    assert drawn == pytest.approx(np.array(COUNTS) / sum(COUNTS), abs=1e-4)
