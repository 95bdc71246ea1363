"""What TensorBoard shows of a fit: curves and histograms as in the codelab, and figures.

Written without TensorFlow: the package `tensorboard` has the formats. Its `EventFileWriter`
imports TensorFlow and writes from a thread, whose errors on a full storage go unnoticed, so only
its records and messages are used here.
"""

import os
import socket
import time
import uuid
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from workers.heads.evaluate import Evaluation
from workers.heads.head import Examples, Head
from workers.heads.learning_curve import Step
from workers.reports.tensorboard_graph import draw_graph
from workers.storage.atomic import storage_errors
from workers.storage.plan import OF_SGD, OF_THE_CURVE, TrainingOptions
from workers.storage.root import make_folder

# Histograms cost more than scalars, and TensorBoard shows only a few dozen.
_STEPS_A_HISTOGRAM = 10
# Images whose activations are shown, the same ones each time.
_SAMPLE = 500
_LAYER = "final_training_ops"
_BINS = 30


class EventFile(AbstractContextManager["EventFile"]):
    """A new file of events in `folder`; readers see each event once `add` returns.

    Raises:
        StorageError: From every method, when the storage refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._doing = f"write TensorBoard summaries to {folder}"
        # As TensorBoard expects it: sorted by time, and unique.
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
        with storage_errors(self._doing):
            make_folder(folder)
            self._file = (folder / f"{name}.{uuid.uuid4().hex[:8]}").open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, values: list[Summary.Value], step: int = 0, when: float | None = None) -> None:
        """Append values of one step, measured at `when` (seconds since 1970; None: now)."""
        summary = Summary(value=values)
        self._write(Event(wall_time=when or time.time(), step=step, summary=summary))

    def add_graph(self, graph: bytes) -> None:
        """Append a serialised GraphDef."""
        self._write(Event(wall_time=time.time(), graph_def=graph))

    def _write(self, event: Event) -> None:
        with storage_errors(self._doing):
            self._records.write(event.SerializeToString())
            self._records.flush()

    def __exit__(self, *_: object) -> None:
        with storage_errors(self._doing):
            self._file.close()


def scalar(tag: str, value: float) -> Summary.Value:
    return Summary.Value(tag=tag, simple_value=value)


def histogram(tag: str, values: NDArray[np.float32]) -> Summary.Value:
    """Return the histogram of all numbers that are finite."""
    numbers = values[np.isfinite(values)].astype(np.float64)
    if not len(numbers):
        return Summary.Value(tag=tag, histo=HistogramProto())
    counts, edges = np.histogram(numbers, _BINS)
    content = HistogramProto(
        min=numbers.min(),
        max=numbers.max(),
        num=len(numbers),
        sum=numbers.sum(),
        sum_squares=(numbers**2).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )
    return Summary.Value(tag=tag, histo=content)


def _session_start(hyperparameters: dict[str, float | str]) -> Summary.Value:
    """Return the start of a row on the HPARAMS page."""
    info = SessionStartInfo(start_time_secs=time.time())
    for name, value in hyperparameters.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, str):
            info.hparams[name].string_value = value
        else:
            info.hparams[name].number_value = value
    data = HParamsPluginData(session_start_info=info)
    return _session(hparams_metadata.SESSION_START_INFO_TAG, data)


def _session(tag: str, data: HParamsPluginData) -> Summary.Value:
    metadata = hparams_metadata.create_summary_metadata(data)
    return Summary.Value(tag=tag, metadata=metadata, tensor=hparams_metadata.NULL_TENSOR)


class Summaries(AbstractContextManager["Summaries"]):
    """New event files in `folder` and its ``train/`` and ``validation/``; older ones stay.

    Tags are those of the codelab's ``retrain.py``. A fit can be watched: each step is in the
    files once `add_step` returns.

    Raises:
        StorageError: From every method, when the storage refuses.
    """

    def __init__(
        self,
        folder: Path,
        architecture: str,
        options: TrainingOptions,
        training: Examples,
        validation: Examples,
    ) -> None:
        self._samples = {"train": _sample(training), "validation": _sample(validation)}
        self._steps = 0
        self._last = 0
        with ExitStack() as stack:
            self._run = stack.enter_context(EventFile(folder))
            self._files = {
                split: stack.enter_context(EventFile(folder / split)) for split in self._samples
            }
            shown = {"architecture": architecture, **_hyperparameters(options)}
            self._run.add([_session_start(shown)])
            self._files["train"].add_graph(draw_graph(architecture, options.solver, training))
            self._stack = stack.pop_all()

    def add_step(self, step: Step, head: Head | None) -> None:
        """Add one point of the learning curve, and now and then the histograms."""
        self._last = step.step
        figures = {
            "train": (step.train_accuracy, step.train_cross_entropy),
            "validation": (step.validation_accuracy, step.validation_cross_entropy),
        }
        for split, (accuracy, loss) in figures.items():
            if accuracy is not None and loss is not None:
                values = [scalar("accuracy", accuracy), scalar("cross_entropy", loss)]
                self._files[split].add(values, step.step, step.time)
        if head is not None:
            if self._steps % _STEPS_A_HISTOGRAM == 0:
                self._add_histograms(head)
            self._steps += 1

    def finish(self, head: Head, evaluations: dict[str, Evaluation]) -> None:
        """Add the fitted head, and its figures by split."""
        self._add_histograms(head)
        for split, evaluation in evaluations.items():
            if evaluation.accuracy is None or evaluation.log_loss is None:
                continue
            shown = ("accuracy", "log_loss", "mean_average_precision")
            figures = {name: getattr(evaluation, name) for name in shown}
            values = [scalar(f"{split}_{n}", v) for n, v in figures.items() if v is not None]
            self._run.add(values, self._last)
        end = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
        data = HParamsPluginData(session_end_info=end)
        self._run.add([_session(hparams_metadata.SESSION_END_INFO_TAG, data)])

    def _add_histograms(self, head: Head) -> None:
        values = []
        for name, array in (("weights", head.weights), ("biases", head.bias)):
            scope = f"{_LAYER}/{name}/summaries"
            values += [
                scalar(f"{scope}/mean", float(array.mean())),
                scalar(f"{scope}/stddev", float(array.std())),
                scalar(f"{scope}/max", float(array.max())),
                scalar(f"{scope}/min", float(array.min())),
                histogram(f"{scope}/histogram", array),
            ]
        self._files["train"].add(values, self._last)
        for split, sample in self._samples.items():
            if len(sample):
                logits = sample.bottlenecks @ head.weights + head.bias
                values = [
                    histogram(f"{_LAYER}/Wx_plus_b/pre_activations", logits),
                    histogram("activations", head.activate(logits)),
                ]
                self._files[split].add(values, self._last)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _hyperparameters(options: TrainingOptions) -> dict[str, float | str]:
    hidden = OF_THE_CURVE if options.solver == "sgd" else (*OF_THE_CURVE, *OF_SGD)
    return {
        name: value
        for name, value in asdict(options).items()
        if name not in hidden and isinstance(value, (str, int, float))
    }


def _sample(examples: Examples) -> Examples:
    chosen = np.unique(np.linspace(0, len(examples) - 1, _SAMPLE).astype(np.int64))
    if not len(examples):
        chosen = chosen[:0]
    return Examples(examples.bottlenecks[chosen], examples.labels[chosen], [])
