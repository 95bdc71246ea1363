"""One label an image gives the very heads that it gave before there were sets of labels."""

import numpy as np
import pytest

from tests.builders.heads import EMPTY, LABELS, SGD, make_clusters
from workers.heads import sgd
from workers.heads.fit import fit_head
from workers.heads.head import Head, sigmoid, softmax
from workers.heads.lbfgs import Figures, Problem
from workers.heads.losses import logistic_losses
from workers.storage.plan import TrainingOptions


def loss_and_gradient(self, solution, strength):
    """What Problem did when it knew softmax alone."""
    head = self.head(solution)
    count = len(self._examples)
    loss, unweighted, hits = 0.0, 0.0, 0
    product = np.zeros(self._shape)
    total = np.zeros(self._shape[1])
    for block, labels in self._blocks():
        residual = softmax(np.asfortranarray(block @ head.weights + head.bias))
        rows = np.arange(len(labels))
        own = np.log(np.maximum(residual[rows, labels], 1e-30))
        weight = self._label_weights[labels]
        loss -= float((weight * own).sum(dtype=np.float64))
        unweighted -= float(own.sum(dtype=np.float64))
        hits += int(np.count_nonzero(residual.argmax(axis=1) == labels))
        residual[rows, labels] -= 1
        residual *= weight[:, np.newaxis]
        product += block.T @ residual
        total += residual.sum(axis=0, dtype=np.float64)
    figures = Figures(hits / count, unweighted / count)
    weights, _ = self._split(solution)
    slope = self._scale * (product - np.outer(self._mean, total)) / count
    slope += strength * weights
    gradient = np.vstack([slope, total / count])
    return loss / count + strength / 2 * float((weights**2).sum()), gradient.ravel(), figures


def move(head, batch, label_weights, learning_rate):
    """What the descent did when it knew softmax alone."""
    residual = softmax(batch.bottlenecks @ head.weights + head.bias)
    residual[np.arange(len(batch)), batch.labels] -= 1
    residual *= label_weights[batch.labels, np.newaxis]
    residual *= np.float32(learning_rate / len(batch))
    np.subtract(head.weights, batch.bottlenecks.T @ residual, out=head.weights)
    np.subtract(head.bias, residual.sum(axis=0), out=head.bias)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("n_held_out", [0, 200])
def test_a_head_of_one_label_an_image_is_what_it_was(monkeypatch, solver, class_weight, n_held_out):
    training = make_clusters(400, 5)
    validation = make_clusters(n_held_out, 6) if n_held_out else EMPTY
    options = TrainingOptions(
        solver=solver, class_weight=class_weight, steps=SGD.steps, learning_rate=SGD.learning_rate
    )

    def fit():
        return fit_head(training, validation, len(LABELS), options, lambda: None)

    now = fit()
    monkeypatch.setattr(Problem, "evaluate", loss_and_gradient)
    monkeypatch.setattr(sgd, "_move", move)
    before = fit()

    assert now.head.activation == "softmax"
    assert np.array_equal(now.head.weights, before.head.weights)
    assert np.array_equal(now.head.bias, before.head.bias)
    assert now.details == before.details

    def figures(step):
        return step.train_accuracy, step.train_cross_entropy, step.validation_cross_entropy

    assert list(map(figures, now.curve)) == list(map(figures, before.curve))


def test_sigmoid_and_its_loss_do_not_overflow():
    logits = np.array([[-1e4, -30.0, 0.0, 30.0, 1e4]], np.float32)

    with np.errstate(over="raise", invalid="raise"):
        found = sigmoid(logits)
        losses = logistic_losses(logits, np.array([[True, True, False, False, False]]))

    assert found.dtype == np.float32
    assert found[0].tolist() == pytest.approx([0, 9.357623e-14, 0.5, 1, 1], rel=1e-5)
    assert losses[0].tolist() == pytest.approx([1e4, 30, np.log(2), 30, 1e4], rel=1e-5)


def test_a_head_gives_the_probabilities_of_its_activation():
    weights, bias = np.zeros((3, 2), np.float32), np.array([0, np.log(3)], np.float32)
    bottlenecks = np.ones((1, 3), np.float32)

    assert Head(weights, bias).predict(bottlenecks)[0] == pytest.approx([0.25, 0.75])
    assert Head(weights, bias, "sigmoid").predict(bottlenecks)[0] == pytest.approx([0.5, 0.75])
