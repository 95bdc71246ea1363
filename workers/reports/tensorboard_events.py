"""TensorBoard's event files, without TensorFlow: the package `tensorboard` has the formats.

Its `EventFileWriter` imports TensorFlow and writes from a thread, whose errors on a full
storage go unnoticed, so only its records and messages are used here.
"""

import os
import socket
import time
import uuid
from contextlib import AbstractContextManager
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

from workers.storage.atomic import storage_errors

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
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / f"{name}.{uuid.uuid4().hex[:8]}").open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, values: list[Summary.Value], step: int = 0, when: float | None = None) -> None:
        """Append values of one step, measured at `when` (seconds since 1970; None: now)."""
        summary = Summary(value=values)
        self._write(Event(wall_time=when or time.time(), step=step, summary=summary))

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


def session_start(hyperparameters: dict[str, float | str]) -> Summary.Value:
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
    return _hyperparameters(hparams_metadata.SESSION_START_INFO_TAG, data)


def session_end() -> Summary.Value:
    """Return the end of a row on the HPARAMS page, with success."""
    info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
    data = HParamsPluginData(session_end_info=info)
    return _hyperparameters(hparams_metadata.SESSION_END_INFO_TAG, data)


def _hyperparameters(tag: str, data: HParamsPluginData) -> Summary.Value:
    metadata = hparams_metadata.create_summary_metadata(data)
    return Summary.Value(tag=tag, metadata=metadata, tensor=hparams_metadata.NULL_TENSOR)
