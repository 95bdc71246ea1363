"""Labels that are probably wrong are found, by a head that never saw the image."""

import numpy as np

from tests.builders.heads import LABELS, make_clusters
from workers.heads.guesses import Guesses
from workers.heads.head import Examples
from workers.processes.heartbeat import no_heartbeat
from workers.reports import suspects
from workers.reports.suspects import find_label_errors, guess_unseen
from workers.storage.plan import TrainingOptions


def guess(examples):
    """Return the guesses for training examples."""
    return guess_all({"training": examples})["training"]


def guess_all(examples):
    return guess_unseen(examples, len(LABELS), 0.001, TrainingOptions(), no_heartbeat)


def swap_labels(examples, count):
    """Give the first `count` examples another label."""
    labels = examples.labels.copy()
    labels[:count] = (labels[:count] + 1) % len(LABELS)
    return Examples(examples.bottlenecks, labels, examples.paths)


def test_swapped_labels_come_first_with_the_label_that_they_had():
    clean = make_clusters(600, 1, spread=0.5)
    errors = find_label_errors({"training": guess(swap_labels(clean, 30))}, len(LABELS))

    first = errors[:30]
    assert sum(error.row < 30 for error in first) >= 28
    for error in first:
        if error.row < 30:
            assert error.suggested == clean.labels[error.row]
            assert error.label != error.suggested
    assert [e.score for e in errors] == sorted((e.score for e in errors), reverse=True)
    assert all(0 < error.score <= 1 for error in errors)


def test_a_set_without_wrong_labels_has_no_suspects():
    errors = find_label_errors({"training": guess(make_clusters(600, 1, spread=0.2))}, len(LABELS))

    assert errors == []


def test_no_image_is_judged_by_a_head_that_was_fitted_on_it():
    # Noise alone can be learnt by heart, but not guessed.
    noise = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, 300)

    found = guess(Examples(noise, labels, [f"{n}.jpg" for n in range(300)]))

    assert found.is_right.mean() < 0.5


def test_the_guess_of_an_image_does_not_depend_on_the_order_of_the_others():
    examples = make_clusters(200, 1)
    order = np.random.default_rng(0).permutation(200)
    turned = Examples(
        examples.bottlenecks[order], examples.labels[order], [examples.paths[i] for i in order]
    )

    assert np.abs(guess(turned).score - guess(examples).score[order]).max() < 0.01


def test_a_large_set_is_judged_by_heads_that_were_fitted_on_a_sample(monkeypatch):
    monkeypatch.setattr(suspects, "_FOLD_EXAMPLES", 100)

    found = guess(swap_labels(make_clusters(900, 1, spread=0.5), 40))
    errors = find_label_errors({"training": found}, len(LABELS))

    assert sum(error.row < 40 for error in errors[:40]) >= 34


def test_one_training_image_and_an_empty_split_are_harmless():
    few = make_clusters(1, 1)
    nobody = Examples(few.bottlenecks[:0], few.labels[:0], [])

    found = guess_all({"training": few, "testing": nobody})

    assert [len(one) for one in found.values()] == [1, 0]


def test_held_out_images_are_judged_by_a_head_that_was_fitted_on_the_training_ones():
    held_out = make_clusters(200, 2, spread=0.3)
    found = guess_all(
        {"training": make_clusters(300, 1, spread=0.3), "test": swap_labels(held_out, 9)}
    )

    errors = find_label_errors(found, len(LABELS))

    assert {(error.split, error.row) for error in errors[:9]} == {("test", row) for row in range(9)}


def test_a_label_that_is_hard_to_learn_needs_less_to_be_suggested():
    # Images of label 1 have 0.5 as a rule, those of label 2 have 0.95.
    own = np.array([0.5, 0.5, 0.95, 0.95, 0.3, 0.3])
    labels = np.array([1, 1, 2, 2, 0, 0])
    predicted = np.array([1, 1, 2, 2, 1, 2])
    score = np.array([0.5, 0.5, 0.95, 0.95, 0.6, 0.6])
    guesses = Guesses(labels, predicted, score, own, score, np.zeros(6, int))

    (error,) = find_label_errors({"test": guesses}, 3)

    assert (error.split, error.row, error.label, error.suggested) == ("test", 4, 0, 1)


def test_every_split_is_judged_and_named():
    clean = make_clusters(600, 1, spread=0.3)
    swapped = guess(swap_labels(clean, 10))
    half = [
        Guesses(*(values[part] for values in vars(swapped).values()))
        for part in (slice(300), slice(300, None))
    ]

    apart = find_label_errors({"training": half[0], "test": half[1]}, len(LABELS))
    together = find_label_errors({"all": swapped}, len(LABELS))

    places = {(error.split, error.row) for error in apart}
    assert places == {
        ("training", e.row) if e.row < 300 else ("test", e.row - 300) for e in together
    }
