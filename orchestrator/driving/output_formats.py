"""Merge the prediction shards of a job into the one file that was asked for."""

import codecs
import filecmp
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from workers.errors import OutputExistsError, RefusedError, ShardError, StorageError
from workers.processes.heartbeat import Heartbeat
from workers.storage.atomic import put_new, storage_errors
from workers.storage.csv_files import csv_bytes
from workers.storage.names import check_utf8
from workers.storage.plan import LabellingOptions, Run
from workers.storage.predictions import read_predictions
from workers.storage.temporary import remove_abandoned, temporary_beside

# Spreadsheets skip a leading tab or line break before they look for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def merge_predictions(run: Run, options: LabellingOptions, heartbeat: Heartbeat) -> Counter[str]:
    """Write the output, whole or not at all, in manifest order; return rows by status.

    Memory does not grow with the number of images. An output with exactly this content is
    taken for this job's: written before a crash, or by another process that drives the job.

    Args:
        heartbeat: Called for each batch.

    Raises:
        RefusedError: When the output has appeared meanwhile and may not be overwritten.
        StorageError: When it cannot be written; the predictions stay in the job's folder.
        ShardError: When a batch has to be labelled again.
    """
    output = Path(options.output)
    remove_abandoned(output.parent)
    temporary = temporary_beside(output)
    counts: Counter[str] = Counter()
    with storage_errors(f"write {output}"):
        try:
            with temporary.open("wb") as file:
                _WRITERS[options.format](file, _tables(run, counts, heartbeat))
                file.flush()
                os.fsync(file.fileno())
            if options.overwrite:
                temporary.replace(output)
            else:
                put_new(temporary, output)
        except FileExistsError as error:
            if not (output.is_file() and filecmp.cmp(temporary, output, shallow=False)):
                raise RefusedError(
                    f"{output} exists already and was not overwritten. Move it away."
                ) from error
        finally:
            temporary.unlink(missing_ok=True)
    return counts


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Raises:
        RefusedError, StorageError: With what to do.
    """
    check_utf8(str(output))
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists already.")
    if not output.parent.is_dir():
        raise RefusedError(f"There is no folder {output.parent} to write {output.name} into.")
    if output.is_dir():
        raise RefusedError(f"{output} is a folder. Give the name of a file.")
    probe = temporary_beside(output)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"Cannot write into {output.parent}: {error.strerror}.") from error


def _tables(run: Run, counts: Counter[str], heartbeat: Heartbeat) -> Iterator[pa.Table]:
    for batch in range(run.plan.batches):
        heartbeat()
        table = _read(run.folder.prediction_shard(batch))
        counts.update(table.column("status").to_pylist())
        yield table


def _read(path: Path) -> pa.Table:
    try:
        return read_predictions(path)
    except ShardError:
        # Out of the way: the batch is labelled again, from bottlenecks that are there.
        path.unlink(missing_ok=True)
        raise


def _write_csv(file: IO[bytes], tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    # pyarrow would quote the names of the columns.
    file.write(",".join(first.schema.names).encode() + b"\n")
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    with pyarrow.csv.CSVWriter(file, first.schema, write_options=options) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _write_excel(file: IO[bytes], tables: Iterator[pa.Table]) -> None:
    """Write CSV that a spreadsheet reads as UTF-8, and in which no cell is a formula."""
    file.write(codecs.BOM_UTF8)
    for number, table in enumerate(tables):
        names = table.schema.names
        rows = zip(*(map(_defuse, column.to_pylist()) for column in table.columns), strict=True)
        content = csv_bytes(names, rows)
        file.write(content.removeprefix(csv_bytes(names, [])) if number else content)


def _defuse(cell: object) -> object:
    # Quotes do not help, since CSV has no types: a first apostrophe makes it a text.
    is_formula = isinstance(cell, str) and cell.startswith(_FORMULA_STARTS)
    return f"'{cell}" if is_formula else cell


def _write_jsonl(file: IO[bytes], tables: Iterator[pa.Table]) -> None:
    for table in tables:
        for row in table.to_pylist():
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _write_parquet(file: IO[bytes], tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


_WRITERS: dict[str, Callable[[IO[bytes], Iterator[pa.Table]], None]] = {
    "csv": _write_csv,
    "excel": _write_excel,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
