"""Bottlenecks that a head can be fitted to, and how good it is."""

import numpy as np

from workers.heads.evaluate import evaluate_head
from workers.heads.head import Examples, Head
from workers.processes.heartbeat import no_heartbeat
from workers.storage.plan import TrainingOptions

LABELS = ("a", "b", "c")
SGD = TrainingOptions(solver="sgd", steps=400, learning_rate=0.1)
EMPTY = Examples(np.empty((0, 20), np.float32), np.empty(0, np.int64), [])


def make_clusters(count: int, seed: int, spread: float = 2.0, width: int = 20) -> Examples:
    """Return bottlenecks in three overlapping clouds, like those of a network: never negative."""
    centres = np.random.default_rng(99).normal(size=(len(LABELS), width))
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, len(LABELS), count)
    values = np.maximum(centres[labels] + spread * generator.normal(size=(count, width)), 0)
    return Examples(values.astype(np.float32), labels, [f"{n}.jpg" for n in range(count)])


def figures(head: Head, examples: Examples) -> tuple[float | None, float | None]:
    """Return accuracy and log loss."""
    found = evaluate_head(head, examples, LABELS, no_heartbeat)
    return found.accuracy, found.log_loss


# A fit of enough steps to be interrupted in its middle.
TRAINING, VALIDATION = make_clusters(120, 1), make_clusters(80, 2)
LONG_FIT = TrainingOptions(solver="sgd", steps=600, learning_rate=0.1)
# For a program that fits by gradient descent: by this clock a second goes by at each look, so
# that a checkpoint is written every 20 to 30 steps, however fast the machine is.
CLOCK_OF_STEPS = """
import itertools, types, time
from workers.heads import sgd

sgd.time = types.SimpleNamespace(monotonic=itertools.count().__next__, time=time.time)
"""
