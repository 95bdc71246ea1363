"""Fitting a head: as good as scikit-learn, the same every time, whatever the numbers."""

import numpy as np
import pytest
from scipy.optimize import minimize
from threadpoolctl import threadpool_info, threadpool_limits

from tests.builders.heads import EMPTY, LABELS, SGD, figures, make_clusters
from workers.heads import fit, lbfgs
from workers.heads.evaluate import evaluate_head
from workers.heads.fit import L2_STRENGTHS, L2_WITHOUT_VALIDATION, fit_at_strength, fit_head
from workers.heads.head import Examples, Head, softmax
from workers.heads.lbfgs import Problem
from workers.heads.losses import weigh_labels
from workers.storage.plan import TrainingOptions


def fit_examples(training, validation=EMPTY, options=None):
    return fit_head(training, validation, len(LABELS), options or TrainingOptions(), lambda: None)


def test_lbfgs_is_as_good_as_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    training, validation, testing = (make_clusters(n, n) for n in (900, 300, 3000))
    mean = training.bottlenecks.mean(axis=0)
    deviation = (training.bottlenecks - mean).std()

    found = fit_examples(training, validation)

    strength = found.details["l2"]
    reference = LogisticRegression(C=1 / (strength * len(training)), max_iter=1000, tol=1e-8)
    reference.fit((training.bottlenecks - mean) / deviation, training.labels)
    expected = reference.predict_proba((testing.bottlenecks - mean) / deviation)
    assert np.abs(found.head.predict(testing.bottlenecks) - expected).max() < 5e-3
    accuracy, log_loss = figures(found.head, testing)
    own = expected[np.arange(len(testing)), testing.labels]
    assert accuracy > 0.75
    assert accuracy == pytest.approx((expected.argmax(axis=1) == testing.labels).mean(), abs=0.003)
    assert log_loss == pytest.approx(-np.log(own).mean(), abs=1e-3)


def test_the_strength_that_is_chosen_is_the_best_on_the_validation_split():
    training, validation = make_clusters(60, 1), make_clusters(300, 2)

    found = fit_examples(training, validation)

    best = figures(found.head, validation)[1]
    problem = Problem(training, len(LABELS), lambda: None)
    others = [
        figures(problem.head(problem.solve(strength, np.zeros(problem.size))), validation)[1]
        for strength in L2_STRENGTHS
    ]
    assert best == pytest.approx(min(others), abs=2e-3)
    assert found.details["l2"] in L2_STRENGTHS


def test_the_gradient_is_that_of_the_loss():
    problem = Problem(make_clusters(50, 3), len(LABELS), lambda: None)
    generator = np.random.default_rng(0)
    place, step = generator.normal(size=(2, problem.size)) * 0.1
    small = 1e-2

    _, gradient, _ = problem.evaluate(place, 0.1)

    above, *_ = problem.evaluate(place + small * step, 0.1)
    below, *_ = problem.evaluate(place - small * step, 0.1)
    assert gradient @ step == pytest.approx((above - below) / (2 * small), rel=3e-3)


@pytest.mark.parametrize("options", [TrainingOptions(), SGD])
def test_the_same_input_gives_the_identical_head(options):
    training, validation = make_clusters(200, 1), make_clusters(50, 2)

    one, other = (fit_examples(training, validation, options).head for _ in range(2))

    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()


@pytest.mark.parametrize("options", [TrainingOptions(), SGD])
def test_memory_mapped_bottlenecks_give_the_same_head(tmp_path, options):
    training, validation = make_clusters(200, 1), make_clusters(50, 2)
    mapped = np.memmap(tmp_path / "m", np.float32, "w+", shape=training.bottlenecks.shape)
    mapped[:] = training.bottlenecks
    streamed = Examples(mapped, training.labels, training.paths)

    expected = fit_examples(training, validation, options).head
    found = fit_examples(streamed, validation, options).head

    assert np.array_equal(found.weights, expected.weights)
    assert np.array_equal(found.bias, expected.bias)


def test_many_blocks_give_the_same_head_as_one(monkeypatch):
    training, validation = make_clusters(500, 1), make_clusters(100, 2)
    expected = fit_examples(training, validation)

    monkeypatch.setattr(lbfgs, "_BLOCK", 64)
    found = fit_examples(training, validation)

    assert found.details == expected.details
    assert np.abs(found.head.weights - expected.head.weights).max() < 2e-3


def test_the_strength_is_chosen_on_a_sample_of_a_large_set(monkeypatch):
    training, validation, testing = (make_clusters(n, n) for n in (900, 300, 1000))
    monkeypatch.setattr(fit, "_CHOICE_EXAMPLES", 300)

    accuracy, _ = figures(fit_examples(training, validation).head, testing)

    assert accuracy > 0.75


@pytest.mark.parametrize("options", [TrainingOptions(), SGD])
def test_a_head_learns_without_a_validation_split(options):
    accuracy, _ = figures(
        fit_examples(make_clusters(600, 1), EMPTY, options).head, make_clusters(1000, 2)
    )

    assert accuracy > 0.7


def test_without_a_validation_split_the_strength_is_fixed():
    assert fit_examples(make_clusters(100, 1)).details["l2"] == L2_WITHOUT_VALIDATION


def test_sgd_learns_what_can_be_learnt_and_says_how():
    training = make_clusters(300, 1, spread=0.3)

    found = fit_examples(training, EMPTY, SGD)

    assert figures(found.head, make_clusters(300, 2, spread=0.3))[0] > 0.98
    assert found.details == {"solver": "sgd", "steps": 400, "learning_rate": 0.1}


def test_another_seed_draws_other_batches():
    training = make_clusters(300, 1)

    one = fit_examples(training, EMPTY, SGD).head
    other = fit_examples(training, EMPTY, TrainingOptions(**{**vars(SGD), "seed": 1})).head

    assert not np.array_equal(one.weights, other.weights)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, -3.0])
def test_numbers_that_never_vary_are_harmless(value):
    training, validation = make_clusters(200, 1), make_clusters(100, 2)
    constant = np.array([0, 7, 19])
    for examples in (training, validation):
        examples.bottlenecks[:, constant] = np.float32(value)

    head = fit_examples(training, validation).head

    assert np.isfinite(head.weights).all()
    assert figures(head, validation)[0] > 0.6


@pytest.mark.parametrize("factor", [1e-17, 1e-6, 1e6])
def test_the_scale_of_the_numbers_does_not_matter(factor):
    training, validation = make_clusters(300, 1), make_clusters(200, 2)
    expected = figures(fit_examples(training, validation).head, validation)
    for examples in (training, validation):
        np.multiply(examples.bottlenecks, np.float32(factor), out=examples.bottlenecks)

    found = figures(fit_examples(training, validation).head, validation)

    assert found == pytest.approx(expected, abs=5e-3)


def test_images_that_all_look_the_same_give_the_shares_of_the_labels():
    training = make_clusters(200, 1)
    training.bottlenecks[:] = 3

    head = fit_examples(training).head

    shares = np.bincount(training.labels) / len(training)
    assert np.abs(head.predict(training.bottlenecks[:1])[0] - shares).max() < 1e-3


def test_one_image_a_label_is_enough_to_learn_those_images():
    training = make_clusters(60, 1, spread=0.1)
    chosen = [int(np.flatnonzero(training.labels == label)[0]) for label in range(3)]
    three = Examples(training.bottlenecks[chosen], training.labels[chosen], ["a", "b", "c"])

    head = fit_examples(three).head

    assert figures(head, three)[0] == 1


@pytest.mark.parametrize("options", [TrainingOptions(), SGD])
def test_work_that_goes_on_can_be_seen(options):
    beats = []

    fit_head(make_clusters(50, 1), EMPTY, 3, options, lambda: beats.append(1))

    assert len(beats) > 2


def test_softmax_does_not_overflow():
    logits = np.array([[1e38, 0, -1e38], [-1e38, -1e38, -1e38], [1000, 1000, 0]], np.float32)

    probabilities = softmax(logits)

    assert np.allclose(probabilities, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    assert probabilities.dtype == np.float32


def test_the_probabilities_of_an_image_sum_to_one():
    head = Head(np.eye(3, dtype=np.float32), np.array([0, 1, 2], np.float32))

    probabilities = head.predict(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))

    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-6


def test_the_solver_finds_the_lowest_loss_there_is():
    problem = Problem(make_clusters(100, 4), len(LABELS), lambda: None)
    solution = problem.solve(0.01, np.zeros(problem.size))

    lowest = minimize(
        lambda place: problem.evaluate(place, 0.01)[:2],
        solution,
        jac=True,
        options={"maxiter": 200},
    ).fun

    assert problem.evaluate(solution, 0.01)[0] == pytest.approx(lowest, abs=1e-5)


def make_uneven(count, seed):
    """Return clusters that vary 1,000 times as much in some directions as in others."""
    even = make_clusters(count, seed)
    width = even.bottlenecks.shape[1]
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(width, width)))
    turned = even.bottlenecks @ rotation * np.geomspace(1, 0.03, width) @ rotation.T
    return Examples(turned.astype(np.float32), even.labels, even.paths)


def test_uneven_directions_cost_few_looks_at_the_loss(monkeypatch):
    problem = Problem(make_uneven(500, 1), len(LABELS), lambda: None)
    looked = []
    look = Problem.evaluate

    def count(self, *place):
        looked.append(place)
        return look(self, *place)

    monkeypatch.setattr(Problem, "evaluate", count)

    found = problem.solve(1e-4, np.zeros(problem.size))
    with_basis = len(looked)
    identity = np.eye(problem.size // len(LABELS))
    monkeypatch.setattr(Problem, "_curvature", lambda *_: identity)
    expected = problem.solve(1e-4, np.zeros(problem.size), tolerance=1e-9)

    assert with_basis < (len(looked) - with_basis) / 2
    assert look(problem, found, 1e-4)[0] == pytest.approx(look(problem, expected, 1e-4)[0], 1e-3)


def test_one_direction_with_all_of_the_variance_leaves_no_other_without_curvature():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 600)
    along = 3 * labels + generator.normal(size=600)
    bottlenecks = np.outer(along, generator.random(1000)).astype(np.float32)
    problem = Problem(Examples(bottlenecks, labels, []), 2, lambda: None)
    weakest = min(L2_STRENGTHS)

    curvature = problem._curvature(weakest, np.zeros(problem.size))

    assert np.linalg.eigvalsh(curvature)[0] > weakest


def test_only_the_blas_of_scipy_is_limited():
    def threads():
        return {library["filepath"]: library["num_threads"] for library in threadpool_info()}

    with threadpool_limits(2, "blas"):
        before = threads()
        with fit.limit_scipy():
            within = threads()
        after = threads()

    assert before == after
    assert 2 in before.values()
    for path, count in within.items():
        assert count == (1 if "scipy" in path.split("/")[-2] else before[path])


BALANCED = [
    TrainingOptions(class_weight="balanced"),
    TrainingOptions(**{**vars(SGD), "class_weight": "balanced", "steps": 2000}),
]


def make_imbalanced(count, seed):
    """Return clusters in which the last label is rare."""
    every = make_clusters(count, seed)
    keep = np.flatnonzero((every.labels < 2) | (np.arange(count) % 15 == 0))
    return Examples(every.bottlenecks[keep], every.labels[keep], [""] * len(keep))


def test_balanced_weights_give_the_head_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    training, testing = make_imbalanced(1200, 1), make_clusters(1000, 2)
    mean = training.bottlenecks.mean(axis=0)
    deviation = (training.bottlenecks - mean).std()

    found = fit_examples(training, EMPTY, BALANCED[0])

    reference = LogisticRegression(
        C=1 / (found.details["l2"] * len(training)),
        class_weight="balanced",
        max_iter=1000,
        tol=1e-8,
    )
    reference.fit((training.bottlenecks - mean) / deviation, training.labels)
    expected = reference.predict_proba((testing.bottlenecks - mean) / deviation)
    assert np.abs(found.head.predict(testing.bottlenecks) - expected).max() < 5e-3


@pytest.mark.parametrize("options", BALANCED, ids=["lbfgs", "sgd"])
def test_balanced_weights_find_more_images_of_a_rare_label(options):
    training, testing = make_imbalanced(1200, 1), make_clusters(2000, 2)

    plain = TrainingOptions(**{**vars(options), "class_weight": "none"})
    recalls = [
        evaluate_head(fit_examples(training, EMPTY, one).head, testing, LABELS, lambda: None)
        .by_label[2]
        .recall
        for one in (plain, options)
    ]

    assert recalls[1] > recalls[0] + 0.1


def test_weights_of_labels_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 6 + [1] * 3 + [2])

    found = weigh_labels(labels, 3, "balanced")

    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found[labels].sum() == pytest.approx(len(labels), rel=1e-6)
    assert weigh_labels(labels, 3, "none").tolist() == [1, 1, 1]


def test_a_given_strength_is_used_without_choosing():
    training = make_clusters(300, 1)

    found = fit_at_strength(training, 3, L2_WITHOUT_VALIDATION, TrainingOptions(), lambda: None)

    assert np.array_equal(found.weights, fit_examples(training).head.weights)
