"""Prediction shards: Parquet files with the columns of the final output."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workers.errors import ShardError
from workers.storage.atomic import is_refusal, storage_error, write_whole
from workers.storage.regular_files import check_regular_file

# Earlier versions wrote none.
_WARNING = pa.field("warning", pa.string())


@dataclass(frozen=True)
class Prediction:
    """The row of one image: ranked labels with scores, or the reason of its failure.

    Attributes:
        is_unsure: The best score misses the threshold of its label.
        warning: Why the picture may be damaged although it was read.
    """

    path: str
    ranked: Sequence[tuple[str, float]] = ()
    error: str | None = None
    is_unsure: bool = False
    warning: str | None = None

    @property
    def status(self) -> str:
        """``ok``, ``unsure`` or ``failed``."""
        if self.error:
            return "failed"
        return "unsure" if self.is_unsure else "ok"


def prediction_schema(top_k: int) -> pa.Schema:
    """Return ``path,status,label,score,label_2,score_2,...,error,model,warning``."""
    fields = [("path", pa.string()), ("status", pa.string())]
    for rank in range(1, top_k + 1):
        suffix = "" if rank == 1 else f"_{rank}"
        fields += [(f"label{suffix}", pa.string()), (f"score{suffix}", pa.float64())]
    return pa.schema([*fields, ("error", pa.string()), ("model", pa.string()), _WARNING])


def write_predictions(path: Path, rows: Sequence[Prediction], *, top_k: int, model: str) -> None:
    """Write one prediction shard, whole or not at all, rows in the order given."""
    schema = prediction_schema(top_k)
    records = []
    for row in rows:
        missing = [(None, None)] * (top_k - len(row.ranked))
        ranks = itertools.chain.from_iterable([*row.ranked[:top_k], *missing])
        cells = (row.path, row.status, *ranks, row.error, model, row.warning)
        records.append(dict(zip(schema.names, cells, strict=True)))
    table = pa.Table.from_pylist(records, schema)
    write_whole(path, lambda temporary: pq.write_table(table, temporary))


def read_predictions(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a prediction shard, or some columns of it.

    Raises:
        ShardError: When it is damaged or missing.
        StorageError: When the storage refuses; that says nothing about the shard.
    """
    try:
        check_regular_file(path)
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and is_refusal(error):
            raise storage_error(f"read {path}", error) from error
        raise ShardError(f"The predictions {path} are damaged or missing: {error}.") from error
    if columns is None and _WARNING.name not in table.column_names:
        return table.append_column(_WARNING, pa.nulls(table.num_rows, pa.string()))
    return table


def rank_labels(
    probabilities: NDArray[np.float64], labels: Sequence[str], top_k: int
) -> list[tuple[str, float]]:
    """Return the `top_k` best labels of one image, best first.

    Args:
        probabilities: Shape (len(labels),). Equal ones keep the order of `labels`.
    """
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return [(labels[i], round(float(probabilities[i]), 6)) for i in best]
