"""Gradient descent as in the codelab's ``retrain.py``; an interrupted fit resumes."""

import time

import numpy as np
from numpy.typing import NDArray

from workers.heads.checkpoint import Descent, fingerprint_fit, read_checkpoint, write_checkpoint
from workers.heads.head import Examples, Head
from workers.heads.learning_curve import Step, Watch, measure_head
from workers.heads.losses import turn_to_slope, weigh_labels
from workers.storage.plan import TrainingOptions

# Seconds of work between two checkpoints, the most that a killed trainer loses. Few fits take
# that long: 4,000 steps on 3,670 x 512 and 5 labels take 0.7 s.
CHECKPOINT_EVERY_S = 5.0


def descend(
    training: Examples,
    validation: Examples,
    n_labels: int,
    options: TrainingOptions,
    watch: Watch,
) -> tuple[Head, list[Step]]:
    """Return a head after ``options.steps`` steps, and its learning curve.

    The same input gives the same head, however often the fit was interrupted.

    Args:
        watch: Its `on_step` is called every ``options.eval_step_interval`` steps and after
            the last.

    Raises:
        StorageError: When the storage refuses the checkpoint.
    """
    descent = _start(training, n_labels, options)
    fingerprint = ""
    if watch.checkpoint:
        fingerprint = fingerprint_fit(training, validation, n_labels, options)
        descent = read_checkpoint(watch.checkpoint, fingerprint, descent)
    head = Head(descent.weights, descent.bias, training.activation)
    label_weights = weigh_labels(training.labels, n_labels, options.class_weight)
    due_s = time.monotonic() + CHECKPOINT_EVERY_S
    for step in range(descent.steps_done, options.steps):
        chosen = descent.batches.integers(0, len(training), options.train_batch_size)
        batch = Examples(training.bottlenecks[chosen], training.labels[chosen], [])
        _move(head, batch, label_weights, options.learning_rate)
        descent.steps_done = step + 1
        if step % options.eval_step_interval == 0 or step + 1 == options.steps:
            descent.curve.append(_measure(step, head, batch, validation, options, descent))
            watch.on_step(descent.curve[-1], head)
        # Step 0 does not count, as in the codelab.
        if options.store_interval and step and step % options.store_interval == 0:
            watch.keep_head(step, head)
        if watch.checkpoint and time.monotonic() >= due_s:
            began_s = time.monotonic()
            write_checkpoint(watch.checkpoint, fingerprint, descent)
            took_s = time.monotonic() - began_s
            # On a slow storage they are fewer: they take at most a twentieth of the time.
            due_s = time.monotonic() + max(CHECKPOINT_EVERY_S, 20 * took_s)
        watch.heartbeat()
    return head, descent.curve


def _start(training: Examples, n_labels: int, options: TrainingOptions) -> Descent:
    # Truncated normal (0.001) weights, zero bias.
    generator = np.random.default_rng(options.seed)
    drawn = generator.normal(0, 0.001, (training.bottlenecks.shape[1], n_labels))
    return Descent(
        weights=np.clip(drawn, -0.002, 0.002).astype(np.float32),
        bias=np.zeros(n_labels, np.float32),
        steps_done=0,
        batches=generator,
        evaluation=np.random.default_rng([options.seed, 1]),
        curve=[],
    )


def _move(
    head: Head, batch: Examples, label_weights: NDArray[np.float32], learning_rate: float
) -> None:
    # Plain gradient descent on the mean cross entropy of a batch drawn with replacement.
    residual = head.activate(batch.bottlenecks @ head.weights + head.bias)
    turn_to_slope(residual, batch.labels, label_weights)
    residual *= np.float32(learning_rate / len(batch))
    np.subtract(head.weights, batch.bottlenecks.T @ residual, out=head.weights)
    np.subtract(head.bias, residual.sum(axis=0), out=head.bias)


def _measure(
    step: int,
    head: Head,
    batch: Examples,
    validation: Examples,
    options: TrainingOptions,
    descent: Descent,
) -> Step:
    accuracy, loss = measure_head(head, batch.bottlenecks, batch.labels)
    size = options.validation_batch_size
    if not len(validation) or size == 0:
        return Step(step, accuracy, loss, time=time.time())
    bottlenecks, labels = validation.bottlenecks, validation.labels
    if size > 0:
        chosen = descent.evaluation.integers(0, len(validation), size)
        bottlenecks, labels = bottlenecks[chosen], labels[chosen]
    figures = measure_head(head, bottlenecks, labels)
    return Step(step, accuracy, loss, *figures, len(labels), time.time())
