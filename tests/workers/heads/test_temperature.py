"""The temperature: scores that mean what they say."""

import numpy as np
import pytest

from workers.heads.evaluate import evaluate_head
from workers.heads.guesses import log_loss
from workers.heads.head import Examples, Head
from workers.heads.temperature import MIN_IMAGES, calibrate_head
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
