"""Temperature and thresholds: scores that mean what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.heads.evaluate import evaluate_head
from workers.heads.guesses import Guesses, log_loss
from workers.heads.head import Examples, Head
from workers.heads.temperature import MIN_IMAGES, calibrate_head, find_thresholds
from workers.processes.heartbeat import no_heartbeat

LABELS = ("cat", "dog", "owl")


def draw_examples(count, seed, sharpness=1.0):
    """Return examples whose logits, the bottlenecks, are too large by `sharpness`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 3)) * 2
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(3, p=row) for row in honest], np.int64)
    return Examples((logits * sharpness).astype(np.float32), labels, [""] * count)


IDENTITY = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_scores_too_bold_or_too_shy(sharpness):
    head, temperature = calibrate_head(IDENTITY, draw_examples(4000, 1, sharpness), no_heartbeat)

    fresh = draw_examples(4000, 2, sharpness)
    before, after = (evaluate_head(one, fresh, LABELS, no_heartbeat) for one in (IDENTITY, head))
    assert temperature == pytest.approx(sharpness, rel=0.1)
    assert after.calibration_error < 0.03
    assert after.log_loss <= before.log_loss + 1e-3


def test_the_order_of_the_labels_stays():
    examples = draw_examples(400, 1, 3.0)
    head, _ = calibrate_head(IDENTITY, examples, no_heartbeat)

    before, after = (one.predict(examples.bottlenecks) for one in (IDENTITY, head))
    assert np.array_equal(before.argsort(axis=1), after.argsort(axis=1))
    assert head.weights.dtype == head.bias.dtype == np.float32


def test_no_temperature_has_a_lower_loss_on_the_validation_split():
    examples = draw_examples(500, 3, 2.0)
    head, temperature = calibrate_head(IDENTITY, examples, no_heartbeat)

    losses = [
        log_loss(Head(IDENTITY.weights / t, IDENTITY.bias), examples, no_heartbeat)
        for t in temperature * np.linspace(0.7, 1.4, 29)
    ]
    assert log_loss(head, examples, no_heartbeat) <= min(losses) + 1e-4


@pytest.mark.parametrize("count", [0, MIN_IMAGES - 1])
def test_too_few_images_leave_the_head_as_it_is(count):
    head, temperature = calibrate_head(IDENTITY, draw_examples(count, 1, 3.0), no_heartbeat)

    assert head is IDENTITY
    assert temperature == 1


def guess(*rows):
    """Return guesses from (true label, predicted label, score)."""
    true, predicted, score = zip(*rows, strict=True) if rows else ((), (), ())
    labels, guesses = (
        np.array([LABELS.index(name) for name in names], int) for names in (true, predicted)
    )
    scores = np.array(score, float)
    return Guesses(labels, guesses, scores, scores, scores, np.zeros(len(rows), int))


MIXED = guess(
    ("cat", "cat", 0.9),
    ("cat", "cat", 0.8),
    ("dog", "cat", 0.7),
    ("cat", "cat", 0.6),
    ("cat", "cat", 0.5),
    ("owl", "dog", 0.9),
    ("dog", "dog", 0.4),
)


@pytest.mark.parametrize(
    ("target", "cat", "dog"),
    [(1.0, 0.8, None), (0.8, 0.5, None), (0.75, 0.5, None), (0.5, 0.5, 0.4)],
)
def test_the_threshold_is_the_lowest_score_whose_precision_reaches_the_target(target, cat, dog):
    assert find_thresholds(MIXED, LABELS, target) == {"cat": cat, "dog": dog, "owl": None}


def test_images_with_one_score_stand_or_fall_together():
    tied = guess(("cat", "cat", 0.9), ("cat", "cat", 0.5), ("dog", "cat", 0.5))

    assert find_thresholds(tied, LABELS, 0.9)["cat"] == 0.9


def test_no_images_give_no_threshold():
    assert set(find_thresholds(guess(), LABELS, 0.9).values()) == {None}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(LABELS), st.sampled_from(LABELS), st.sampled_from([0.4, 0.5, 0.7, 0.9])
        ),
        max_size=40,
    ),
    st.sampled_from([0.5, 0.8, 0.9, 1.0]),
)
def test_precision_at_the_threshold_reaches_the_target_and_at_no_lower_score(rows, target):
    thresholds = find_thresholds(guess(*rows), LABELS, target)

    for label in LABELS:
        reached = []
        for least in (0.4, 0.5, 0.7, 0.9):
            sure = [true == label for true, said, score in rows if said == label and score >= least]
            if sure and sum(sure) / len(sure) >= target:
                reached.append(min(s for _, said, s in rows if said == label and s >= least))
        assert thresholds[label] == (min(reached) if reached else None)
