"""The checkpoint of gradient descent: all that it takes to resume it without a trace."""

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples
from workers.heads.learning_curve import Step
from workers.storage.atomic import write_whole
from workers.storage.plan import TrainingOptions

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


def fingerprint_fit(
    training: Examples, validation: Examples, n_labels: int, options: TrainingOptions
) -> str:
    """Return a digest that tells one fit from another: of options, images and their labels.

    The bottlenecks themselves are left out: within a run they follow from the paths.
    """
    facts = [asdict(options), n_labels, np.__version__]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for examples in (training, validation):
        digest.update(repr(examples.bottlenecks.shape).encode())
        digest.update(examples.labels.tobytes())
        digest.update("\0".join(examples.paths).encode())
    return digest.hexdigest()


def write_checkpoint(path: Path, fingerprint: str, descent: Descent) -> None:
    """Write the state of the descent, whole or not at all.

    Raises:
        StorageError: When the storage refuses.
    """
    facts = {
        "fingerprint": fingerprint,
        "steps_done": descent.steps_done,
        "batches": descent.batches.bit_generator.state,
        "evaluation": descent.evaluation.bit_generator.state,
        "curve": [astuple(step) for step in descent.curve],
    }
    content = io.BytesIO()
    np.savez(
        content,
        weights=descent.weights,
        bias=descent.bias,
        facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
    )
    write_whole(path, content.getvalue())


def read_checkpoint(path: Path, fingerprint: str, start: Descent) -> Descent:
    """Return the state of an interrupted descent, or `start` when there is no checkpoint.

    A checkpoint that is damaged, or belongs to another fit, counts as none.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
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
