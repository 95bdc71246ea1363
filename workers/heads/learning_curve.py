"""The learning curve: figures at some steps of a fit, and the log that shows them at once."""

import contextlib
import csv
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Examples, Head
from workers.heads.losses import sum_losses
from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import storage_errors
from workers.storage.plan import TrainingOptions
from workers.storage.root import make_folder


@dataclass(frozen=True)
class Step:
    """What a solver measured at one of its steps; the first is 0, as in the codelab.

    Attributes:
        train_accuracy, train_cross_entropy: On the batch of this step (sgd), or on all
            training images (lbfgs); the cross entropy is the mean, in nats, without L2.
        validation_accuracy, validation_cross_entropy: On `validation_images` images of the
            validation split; None when there are none.
        time: When it was measured, seconds since 1970.
    """

    step: int
    train_accuracy: float
    train_cross_entropy: float
    validation_accuracy: float | None = None
    validation_cross_entropy: float | None = None
    validation_images: int = 0
    time: float = 0.0


OnStep = Callable[[Step, Head | None], None]


def ignore_step(step: Step, head: Head | None) -> None:
    pass


@dataclass(frozen=True)
class Task:
    """What a solver fits, and what it reports while it works; no report changes the head.

    Attributes:
        on_step: Called with each step of the learning curve, and with the head at that step
            if the solver has one; the arrays of that head change after the call.
        checkpoint: File to resume "sgd" from; the caller deletes it.
        heads: Folder for the heads that "sgd" keeps, one after each step that is a multiple of
            `store_interval`.
    """

    training: Examples
    validation: Examples
    n_labels: int
    options: TrainingOptions
    heartbeat: Heartbeat
    on_step: OnStep = ignore_step
    checkpoint: Path | None = None
    heads: Path | None = None


_COLUMNS = tuple(field.name for field in fields(Step))


def measure_head(
    head: Head, bottlenecks: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[float, float]:
    """Return accuracy and mean cross entropy (nats), quickly: in float32.

    Args:
        bottlenecks: Shape (n, bottleneck_size), n > 0.
        labels: Shape (n,), or (n, labels) for sigmoids; then an image is right when all of
            its labels are, and the cross entropy is the mean over labels too.
    """
    logits = bottlenecks @ head.weights + head.bias
    probabilities = head.activate(logits)
    if labels.ndim == 2:
        ones = np.ones((2, 1), np.float32)
        found = sum_losses(logits, probabilities, labels, ones)
        return found.hits / len(labels), found.plain / labels.size
    own = probabilities[np.arange(len(labels)), labels]
    hits = int(np.count_nonzero(probabilities.argmax(axis=1) == labels))
    loss = -np.log(np.maximum(own, 1e-30)).mean(dtype=np.float64)
    return hits / len(labels), float(loss)


class StepLog(AbstractContextManager["StepLog"]):
    """The run's ``steps.csv``: one line a step, appended during the fit.

    Only for watching a fit. Another attempt appends to it too, so a step may come twice;
    `read_steps` sorts that out.

    Raises:
        StorageError: From every method, when the storage refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(f"write {path}"):
            make_folder(path.parent)
            self._file = path.open("a", encoding="utf-8")
            # Ends the line that a killed attempt may have left half written.
            if self._file.tell():
                self._file.write("\n")
            self._append(_COLUMNS)

    def add(self, step: Step) -> None:
        with storage_errors(f"write {self._path}"):
            self._append(astuple(step))

    def _append(self, row: tuple[object, ...]) -> None:
        csv.writer(self._file, lineterminator="\n").writerow(row)
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        with storage_errors(f"write {self._path}"):
            self._file.close()


def read_steps(path: Path) -> list[Step]:
    """Return the steps in a ``steps.csv`` so far, in order, each once; none without a file.

    The last line may be half written, so it counts only with its line break.
    """
    with storage_errors(f"read {path}"):
        try:
            lines = path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
        except FileNotFoundError:
            return []
    found: dict[int, Step] = {}
    for line in lines:
        # Headers, and what a killed attempt left, are no steps.
        with contextlib.suppress(ValueError):
            step = parse_step(dict(zip(_COLUMNS, line.split(","), strict=True)))
            found.setdefault(step.step, step)
    return [found[number] for number in sorted(found)]


def parse_step(cells: dict[str, str]) -> Step:
    """Return a step from the cells of a CSV file by their column; an empty one is None.

    Raises:
        ValueError: When they hold no step.
    """
    values = {name: cell or None for name, cell in cells.items()}
    return msgspec.convert(values, Step, strict=False)


def describe_step(step: Step) -> list[str]:
    """Return the lines that the codelab's ``retrain.py`` prints for a step."""
    when = datetime.fromtimestamp(step.time, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")
    start = f"{when}: Step {step.step}:"
    lines = [
        f"{start} Train accuracy = {step.train_accuracy * 100:.1f}%",
        f"{start} Cross entropy = {step.train_cross_entropy:f}",
    ]
    if step.validation_accuracy is not None:
        accuracy = step.validation_accuracy * 100
        lines.append(f"{start} Validation accuracy = {accuracy:.1f}% (N={step.validation_images})")
    return lines
