"""The learning curve: figures at some steps of a fit, on the way and beside the model."""

import csv
import io
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.heads.head import Head
from workers.heads.losses import sum_losses
from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import storage_errors

CURVE_COLUMNS = (
    "step",
    "train_accuracy",
    "train_cross_entropy",
    "validation_accuracy",
    "validation_cross_entropy",
)


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
KeepHead = Callable[[int, Head], None]


def ignore_step(step: Step, head: Head | None) -> None:
    pass


def keep_no_head(step: int, head: Head) -> None:
    pass


@dataclass(frozen=True)
class Watch:
    """What a solver tells while it works; none of it changes the head.

    Attributes:
        heartbeat: Called now and then, to show that the work goes on.
        on_step: Called with each step of the learning curve, and with the head there where
            the solver has one; the arrays of that head change after the call.
        checkpoint: File that an interrupted "sgd" goes on from; who gives it removes it.
        keep_head: Called by "sgd" with the head after each step that is a multiple of
            `store_interval`; an interrupted fit may call it twice for a step.
    """

    heartbeat: Heartbeat
    on_step: OnStep = ignore_step
    checkpoint: Path | None = None
    keep_head: KeepHead = keep_no_head


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


def write_curve(curve: Iterable[Step]) -> bytes:
    """Return the content of the model's ``curve.csv``: the same fit gives the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    writer.writerows([getattr(step, name) for name in CURVE_COLUMNS] for step in curve)
    return text.getvalue().encode()


class StepLog(AbstractContextManager["StepLog"]):
    """The run's ``steps.csv``: one line a step, appended while the fit goes on.

    A hint for who watches. Another attempt appends to it too, so a step may come twice;
    `read_steps` sorts that out.

    Raises:
        StorageError: From every method, when the storage refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(f"write {path}"):
            self._file = path.open("a", encoding="utf-8")
            # The first line break ends what a killed attempt may have left.
            self._append("\n" if self._file.tell() else "", ",".join(_COLUMNS))

    def add(self, step: Step) -> None:
        with storage_errors(f"write {self._path}"):
            self._append(",".join("" if value is None else repr(value) for value in astuple(step)))

    def _append(self, *words: str) -> None:
        self._file.write("".join(words) + "\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        with storage_errors(f"write {self._path}"):
            self._file.close()


def read_steps(path: Path) -> list[Step]:
    """Return the steps in a ``steps.csv`` so far, in order, each once; none without a file.

    The last line may be half written, so it counts only with its line break.

    Raises:
        StorageError: When the storage refuses.
    """
    with storage_errors(f"read {path}"):
        try:
            lines = path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
        except FileNotFoundError:
            return []
    found: dict[int, Step] = {}
    for line in lines:
        step = _parse_step(line)
        if step is not None:
            found.setdefault(step.step, step)
    return [found[number] for number in sorted(found)]


def _parse_step(line: str) -> Step | None:
    values = line.split(",")
    if len(values) != len(_COLUMNS):
        return None
    try:
        step, accuracy, loss, held_out_accuracy, held_out_loss, images, when = values
        return Step(
            int(step),
            float(accuracy),
            float(loss),
            float(held_out_accuracy) if held_out_accuracy else None,
            float(held_out_loss) if held_out_loss else None,
            int(images),
            float(when),
        )
    except ValueError:
        return None  # a header, or what a killed attempt left


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
