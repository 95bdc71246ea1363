"""Gradient descent as in the codelab's ``retrain.py``; an interrupted fit resumes.

With ``class_weight`` "balanced", batches are drawn as there: a label first, then one of its
images, so every label counts the same however few images it has.
Its checkpoint holds all that it takes to resume without a trace. Heads that it keeps at some of
its steps are small files beside the model.
"""

import hashlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples, Head
from workers.heads.learning_curve import Step, Task, measure_head
from workers.heads.losses import turn_to_slope, weigh_labels
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.plan import TrainingOptions
from workers.storage.regular_files import CONTENT_BYTES, read_regular_file

# Seconds of work between two checkpoints, the most that a killed trainer loses. Few fits take
# that long: 4,000 steps on 3,670 x 512 and 5 labels take 0.7 s.
CHECKPOINT_EVERY_S = 5.0
# Raise it when other batches are drawn from the same numbers: a checkpoint then counts as none.
_DRAWING = 2
# How the indices of a batch are drawn, with replacement: by a generator, as many as are asked for.
_Draw = Callable[[np.random.Generator, int], NDArray[np.int64]]
# What reading raises for a file that is no checkpoint, or a damaged one.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass
class Descent:
    """Gradient descent in progress.

    Attributes:
        weights: float32, shape (bottleneck_size, labels).
        bias: float32, shape (labels,).
        steps_done: Steps that led to these weights.
        batches: Draws the training batches.
        evaluation: Draws the validation batches; separate, so that the head does not depend
            on how often it is evaluated.
        curve: What was measured so far.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    steps_done: int
    batches: np.random.Generator
    evaluation: np.random.Generator
    curve: list[Step]


def descend(task: Task) -> tuple[Head, list[Step]]:
    """Return a head after ``options.steps`` steps, and its learning curve.

    The same input gives the same head, however often the fit was interrupted. `task.on_step` is
    called every ``options.eval_step_interval`` steps and after the last.
    """
    training, options = task.training, task.options
    descent = _start(task)
    fingerprint = ""
    if task.checkpoint:
        fingerprint = _fingerprint(task)
        descent = _read_checkpoint(task.checkpoint, fingerprint, descent)
    head = Head(descent.weights, descent.bias, training.activation)
    draw, draw_held_out = (_drawing(split, options) for split in (training, task.validation))
    # One label an image is weighed by how often it is drawn.
    weighed = options.class_weight if training.labels.ndim == 2 else "none"
    label_weights = weigh_labels(training.labels, task.n_labels, weighed)
    due_s = time.monotonic() + CHECKPOINT_EVERY_S
    for step in range(descent.steps_done, options.steps):
        batch = _batch(training, options.train_batch_size, draw, descent.batches)
        _move(head, batch, label_weights, options.learning_rate)
        descent.steps_done = step + 1
        if step % options.eval_step_interval == 0 or step + 1 == options.steps:
            held_out = _batch(
                task.validation, options.validation_batch_size, draw_held_out, descent.evaluation
            )
            descent.curve.append(_measure(step, head, batch, held_out))
            task.on_step(descent.curve[-1], head)
        # Step 0 does not count, as in the codelab.
        if task.heads and options.store_interval and step and step % options.store_interval == 0:
            keep_head(task.heads, step, head)
        if task.checkpoint and time.monotonic() >= due_s:
            began_s = time.monotonic()
            _write_checkpoint(task.checkpoint, fingerprint, descent)
            took_s = time.monotonic() - began_s
            # On a slow storage they are fewer: they take at most a twentieth of the time.
            due_s = time.monotonic() + max(CHECKPOINT_EVERY_S, 20 * took_s)
        task.heartbeat()
    return head, descent.curve


def _start(task: Task) -> Descent:
    # Truncated normal (0.001) weights, zero bias.
    seed = task.options.seed
    generator = np.random.default_rng(seed)
    drawn = generator.normal(0, 0.001, (task.training.bottlenecks.shape[1], task.n_labels))
    return Descent(
        weights=np.clip(drawn, -0.002, 0.002).astype(np.float32),
        bias=np.zeros(task.n_labels, np.float32),
        steps_done=0,
        batches=generator,
        evaluation=np.random.default_rng([seed, 1]),
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


def _drawing(examples: Examples, options: TrainingOptions) -> _Draw:
    labels = examples.labels
    if options.class_weight == "none" or labels.ndim == 2 or not len(labels):
        return lambda generator, size: generator.integers(0, len(labels), size)
    by_label = np.argsort(labels, kind="stable")
    # Only labels that have an image: the codelab's script fails when it draws another.
    _, starts, counts = np.unique(labels[by_label], return_index=True, return_counts=True)

    def draw(generator: np.random.Generator, size: int) -> NDArray[np.int64]:
        chosen = generator.integers(0, len(counts), size)
        found: NDArray[np.int64] = by_label[starts[chosen] + generator.integers(0, counts[chosen])]
        return found

    return draw


def _batch(examples: Examples, size: int, draw: _Draw, generator: np.random.Generator) -> Examples:
    """Return `size` examples; all of them for -1."""
    if size < 0 or not len(examples):
        return examples
    chosen = draw(generator, size)
    return Examples(examples.bottlenecks[chosen], examples.labels[chosen], [])


def _measure(step: int, head: Head, batch: Examples, held_out: Examples) -> Step:
    figures = measure_head(head, batch.bottlenecks, batch.labels)
    if not len(held_out):
        return Step(step, *figures, time=time.time())
    measured = measure_head(head, held_out.bottlenecks, held_out.labels)
    return Step(step, *figures, *measured, len(held_out), time.time())


def _fingerprint(task: Task) -> str:
    """Return a digest that tells one fit from another: of options, images and their labels.

    The bottlenecks themselves are left out: within a run they follow from the paths.
    """
    facts = [asdict(task.options), task.n_labels, np.__version__, _DRAWING]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for examples in (task.training, task.validation):
        digest.update(repr(examples.bottlenecks.shape).encode())
        digest.update(examples.labels.tobytes())
        digest.update("\0".join(examples.paths).encode())
    return digest.hexdigest()


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


def _write_checkpoint(path: Path, fingerprint: str, descent: Descent) -> None:
    facts = {
        "fingerprint": fingerprint,
        "steps_done": descent.steps_done,
        "batches": descent.batches.bit_generator.state,
        "evaluation": descent.evaluation.bit_generator.state,
        "curve": [astuple(step) for step in descent.curve],
    }
    encoded = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    _write_arrays(path, {"weights": descent.weights, "bias": descent.bias, "facts": encoded})


def _read_checkpoint(path: Path, fingerprint: str, start: Descent) -> Descent:
    """Return the state of an interrupted descent, or `start` when there is no checkpoint.

    A checkpoint that is damaged, or belongs to another fit, counts as none.
    """
    try:
        with np.load(
            io.BytesIO(read_regular_file(path, CONTENT_BYTES)), allow_pickle=False
        ) as arrays:
            weights, bias = arrays["weights"], arrays["bias"]
            facts: dict[str, Any] = json.loads(arrays["facts"].tobytes())
        if (
            facts["fingerprint"] != fingerprint
            or (weights.shape, weights.dtype) != (start.weights.shape, np.float32)
            or (bias.shape, bias.dtype) != (start.bias.shape, np.float32)
        ):
            return start
        return Descent(
            weights,
            bias,
            int(facts["steps_done"]),
            _generator(facts["batches"]),
            _generator(facts["evaluation"]),
            [Step(*values) for values in facts["curve"]],
        )
    except _DAMAGED:
        return start


def _generator(state: dict[str, Any]) -> np.random.Generator:
    generator = np.random.default_rng(0)
    generator.bit_generator.state = state
    return generator


def keep_head(folder: Path, step: int, head: Head) -> None:
    """Write the head after a step in the format of ``head.npz``, whole or not at all."""
    _write_arrays(folder / f"{step}.npz", {"weights": head.weights, "bias": head.bias})


def list_kept(folder: Path) -> dict[int, Path]:
    """Return the file of each kept head by its step, in order; none without the folder."""
    with storage_errors(f"read {folder}"):
        found = {int(path.stem): path for path in folder.glob("[0-9]*.npz")}
    return dict(sorted(found.items()))
