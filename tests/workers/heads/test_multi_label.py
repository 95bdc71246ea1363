"""Heads of sigmoids: as good as scikit-learn, and judged as it judges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workers.heads import lbfgs
from workers.heads.evaluate import evaluate_head
from workers.heads.fit import L2_STRENGTHS, fit_at_strength, fit_head
from workers.heads.guesses import log_loss as mean_log_loss
from workers.heads.guesses import name_answer
from workers.heads.head import Examples, Head
from workers.heads.lbfgs import Problem
from workers.heads.metrics import average_precision
from workers.heads.temperature import calibrate_head
from workers.processes.heartbeat import no_heartbeat
from workers.storage.plan import TrainingOptions

LABELS = ("a", "b", "c", "d")


def make_sets(count: int, seed: int, width: int = 20) -> Examples:
    """Return bottlenecks that show, with much noise, which of four labels they have."""
    shown = np.random.default_rng(99).normal(size=(len(LABELS), width))
    generator = np.random.default_rng(seed)
    labels = generator.random((count, len(LABELS))) < (0.5, 0.3, 0.2, 0.05)
    values = np.maximum(labels @ shown + 1.5 * generator.normal(size=(count, width)), 0)
    return Examples(values.astype(np.float32), labels, [f"{n}.jpg" for n in range(count)])


def fit(training, validation, **options):
    return fit_head(training, validation, len(LABELS), TrainingOptions(**options), no_heartbeat)


def evaluate(head, examples):
    return evaluate_head(head, examples, LABELS, no_heartbeat)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_lbfgs_agrees_with_one_versus_rest_of_scikit_learn(class_weight):
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    training, testing = make_sets(900, 1), make_sets(2000, 2)
    strength = 10**-2.5
    mean = training.bottlenecks.mean(axis=0)
    deviation = (training.bottlenecks - mean).std()
    reference = OneVsRestClassifier(
        LogisticRegression(
            C=1 / (strength * len(training)),
            max_iter=1000,
            tol=1e-8,
            class_weight=None if class_weight == "none" else class_weight,
        )
    ).fit((training.bottlenecks - mean) / deviation, training.labels)

    options = TrainingOptions(class_weight=class_weight)
    head = fit_at_strength(training, len(LABELS), strength, options, no_heartbeat)

    expected = reference.predict_proba((testing.bottlenecks - mean) / deviation)
    assert head.activation == "sigmoid"
    assert np.abs(head.predict(testing.bottlenecks) - expected).max() < 2e-3


def test_the_strength_that_is_chosen_is_the_best_on_the_validation_split():
    training, validation = make_sets(80, 1), make_sets(300, 2)

    found = fit(training, validation)

    problem = Problem(training, len(LABELS), no_heartbeat)
    others = [
        mean_log_loss(
            problem.head(problem.solve(s, np.zeros(problem.size))), validation, no_heartbeat
        )
        for s in L2_STRENGTHS
    ]
    assert mean_log_loss(found.head, validation, no_heartbeat) == pytest.approx(
        min(others), abs=2e-3
    )


def test_the_gradient_is_that_of_the_loss():
    problem = Problem(make_sets(50, 3), len(LABELS), no_heartbeat, "balanced")
    generator = np.random.default_rng(0)
    place, step = generator.normal(size=(2, problem.size)) * 0.1
    small = 1e-2

    ahead, *_ = problem.evaluate(place + small * step, 0.1)
    behind, *_ = problem.evaluate(place - small * step, 0.1)
    _, gradient, _ = problem.evaluate(place, 0.1)

    assert (ahead - behind) / (2 * small) == pytest.approx(gradient @ step, rel=1e-3)


def test_blocks_change_nothing(monkeypatch):
    training = make_sets(300, 4)
    whole = fit_at_strength(training, len(LABELS), 0.01, TrainingOptions(), no_heartbeat)
    monkeypatch.setattr(lbfgs, "_BLOCK", 70)
    pieces = fit_at_strength(training, len(LABELS), 0.01, TrainingOptions(), no_heartbeat)

    assert np.abs(whole.weights - pieces.weights).max() < 1e-3


def test_sgd_comes_near_to_lbfgs():
    training, validation, testing = make_sets(900, 1), make_sets(200, 2), make_sets(2000, 3)

    slow = fit(training, validation, solver="sgd", steps=3000, learning_rate=0.3)
    good = fit(training, validation)

    assert slow.head.activation == "sigmoid"
    slow_figures, good_figures = evaluate(slow.head, testing), evaluate(good.head, testing)
    assert slow_figures.log_loss == pytest.approx(good_figures.log_loss, abs=0.03)
    assert good_figures.mean_average_precision > 0.75


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_the_curve_ends_with_the_figures_of_the_head(solver):
    training, validation = make_sets(300, 1), make_sets(100, 2)

    found = fit(training, validation, solver=solver, steps=50, validation_batch_size=-1)

    last, figures = found.curve[-1], evaluate(found.head, validation)
    assert last.validation_accuracy == figures.accuracy
    assert last.validation_cross_entropy == pytest.approx(figures.log_loss, rel=1e-3)
    if solver == "lbfgs":
        figures = evaluate(found.head, training)
        assert last.train_accuracy == pytest.approx(figures.accuracy, abs=0.011)
        assert last.train_cross_entropy == pytest.approx(figures.log_loss, rel=0.01)


def test_figures_are_those_of_scikit_learn():
    from sklearn.metrics import average_precision_score, log_loss, precision_recall_fscore_support

    testing = make_sets(400, 5)
    head = fit(make_sets(300, 4), make_sets(100, 6)).head
    probabilities = head.predict(testing.bottlenecks)

    found = evaluate(head, testing)

    expected = average_precision_score(testing.labels, probabilities, average=None)
    assert [f.average_precision for f in found.by_label] == pytest.approx(expected)
    assert found.mean_average_precision == pytest.approx(expected.mean())
    columns = zip(testing.labels.T, probabilities.T, strict=True)
    assert found.log_loss == pytest.approx(np.mean([log_loss(*column) for column in columns]))
    predicted = probabilities >= 0.5
    precision, recall, f1, support = precision_recall_fscore_support(testing.labels, predicted)
    rows = [(f.precision, f.recall, f.f1, f.support) for f in found.by_label]
    assert np.array(rows) == pytest.approx(np.stack([precision, recall, f1, support], axis=1))
    assert found.accuracy == pytest.approx((predicted == testing.labels).all(axis=1).mean())
    assert found.confusion is None
    assert found.top5_accuracy is None


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            arrays(np.bool_, n), arrays(np.float64, n, elements=st.sampled_from([0, 0.1, 0.5, 1]))
        )
    )
)
def test_average_precision_is_that_of_scikit_learn_with_ties_too(case):
    from sklearn.metrics import average_precision_score

    truth, scores = case

    found = average_precision(truth, scores)

    assert found == (pytest.approx(average_precision_score(truth, scores)) if any(truth) else None)


def test_a_mistake_has_the_score_of_its_whole_set():
    logits = np.log([[9, 1, 1 / 4], [1 / 9, 1 / 9, 1 / 9]])  # 0.9 0.5 0.2, then 0.1 each
    head = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), "sigmoid")
    truth = np.array([[True, False, False], [False, False, False]])
    examples = Examples(logits.astype(np.float32), truth, ["wrong.jpg", "right.jpg"])

    labels = ('"', "b,;|", "ü")
    found = evaluate_head(head, examples, labels, no_heartbeat)

    assert found.guesses.is_right.tolist() == [False, True]
    assert name_answer(truth[0], labels) == '["\\""]'
    assert name_answer(found.guesses.predicted[0], labels) == '["\\"", "b,;|"]'
    assert found.guesses.score == pytest.approx([0.36, 0.729])
    assert found.guesses.label_score == pytest.approx([0.36, 0.729])
    assert found.guesses.margin == pytest.approx([0, 0.729 - 0.081], abs=1e-6)
    assert found.accuracy == 0.5


def test_nothing_held_out_gives_no_figures():
    found = evaluate(fit(make_sets(100, 1), make_sets(0, 1)).head, make_sets(0, 1))

    assert (found.images, found.accuracy, found.log_loss) == (0, None, None)
    assert found.mean_average_precision is None
    assert {f.average_precision for f in found.by_label} == {None}


def test_a_label_that_no_image_has_is_left_out_of_the_mean():
    testing = make_sets(200, 2)
    testing.labels[:, 3] = False

    found = evaluate(fit(make_sets(200, 1), make_sets(0, 1)).head, testing)

    known = [f.average_precision for f in found.by_label[:3]]
    assert found.by_label[3].average_precision is None
    assert found.mean_average_precision == pytest.approx(np.mean(known))


def test_calibration_mends_scores_that_promise_too_much():
    validation, testing = make_sets(400, 1), make_sets(2000, 2)
    head = fit(make_sets(900, 3), validation).head
    loud = Head(head.weights * 3, head.bias * 3, head.activation)

    calibrated, temperature = calibrate_head(loud, validation, no_heartbeat)

    assert temperature == pytest.approx(3, rel=0.15)
    assert calibrated.activation == "sigmoid"
    before, after = evaluate(loud, testing), evaluate(calibrated, testing)
    assert after.log_loss < before.log_loss
    assert after.calibration_error < before.calibration_error / 2
    assert after.mean_average_precision == pytest.approx(before.mean_average_precision)
