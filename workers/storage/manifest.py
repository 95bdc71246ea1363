"""manifest.parquet: every image of a run and its variants, one row group a batch."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workers.errors import RunError, StorageError
from workers.storage.atomic import is_refusal, write_whole
from workers.storage.layout import RunFolder
from workers.storage.regular_files import check_regular_file

_T = TypeVar("_T")
NOT_CACHED = -1
_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the root, see workers.storage.names
        ("size", pa.int64()),  # bytes
        ("version", pa.int64()),  # modification time, nanoseconds
        ("label", pa.string()),
        ("split", pa.string()),  # training, validation or testing
        ("shard", pa.string()),  # where the bottleneck is, or will be
        ("shard_row", pa.int32()),  # its row there if it was cached, else NOT_CACHED
        ("digest", pa.binary(32)),  # of what the bottleneck is of, if it was cached
        ("variant", pa.int32()),  # 0 for the image itself
    ]
)


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One row of a manifest: an image, or a variant of the image in the rows before.

    Attributes:
        variant: 0 for the image itself; else what `TrainingOptions.recipe` takes.
    """

    path: str
    size: int
    version: int
    label: str | None
    split: str | None
    shard: str
    shard_row: int = NOT_CACHED
    digest: bytes | None = None
    variant: int = 0

    @property
    def is_cached(self) -> bool:
        return self.shard_row != NOT_CACHED


@dataclass(frozen=True, slots=True)
class Batch:
    """A fixed slice of a manifest; one task works on one batch.

    Attributes:
        own_shard: Name of the shard for the images that were not cached.
    """

    number: int
    images: tuple[PlannedImage, ...]

    @property
    def own_shard(self) -> str | None:
        return next((image.shard for image in self.images if not image.is_cached), None)


def write_manifest(path: Path, batches: Iterable[tuple[PlannedImage, ...]]) -> None:
    """Write one row group for each batch."""

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(
            temporary, _SCHEMA, compression="zstd", write_page_checksum=True
        ) as writer:
            for images in batches:
                columns = [
                    pa.array([getattr(image, name) for image in images], kind)
                    for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True)
                ]
                writer.write_table(pa.table(columns, schema=_SCHEMA), row_group_size=len(images))

    write_whole(path, write)


def read_batch(folder: RunFolder, number: int) -> Batch:
    """Return batch `number` of a run.

    Raises:
        RunError: When the manifest is missing or damaged, or has no such batch.
        StorageError: When the storage refuses.
    """
    if not 0 <= number < _read(folder, lambda file: file.num_row_groups):
        raise RunError(f"Run {folder.name!r} has no batch {number}.")

    def read(file: pq.ParquetFile) -> tuple[PlannedImage, ...]:
        table = file.read_row_group(number, columns=_SCHEMA.names)
        rows = zip(*(table.column(name).to_pylist() for name in _SCHEMA.names), strict=True)
        return tuple(PlannedImage(*values) for values in rows)

    return Batch(number, _read(folder, read))


def read_batches(folder: RunFolder) -> Iterator[Batch]:
    """Yield every batch of a run in order; memory does not grow with their number."""
    for number in range(len(batch_sizes(folder))):
        yield read_batch(folder, number)


def batch_sizes(folder: RunFolder) -> list[int]:
    """Return the number of rows in each batch, read from the footer alone."""

    def read(file: pq.ParquetFile) -> list[int]:
        groups = range(file.metadata.num_row_groups)
        return [file.metadata.row_group(number).num_rows for number in groups]

    return _read(folder, read)


def own_shards(folder: RunFolder) -> list[str | None]:
    """Return for each batch the shard that it writes; None when all of it was cached."""

    def own(table: pa.Table) -> str | None:
        rows = np.flatnonzero(table.column("shard_row").to_numpy() == NOT_CACHED)
        return table.column("shard")[int(rows[0])].as_py() if rows.size else None

    def read(file: pq.ParquetFile) -> list[str | None]:
        groups = range(file.num_row_groups)
        return [own(file.read_row_group(n, columns=["shard", "shard_row"])) for n in groups]

    return _read(folder, read)


def list_shards(folder: RunFolder) -> set[str]:
    """Return the names of all shards that hold, or will hold, a row of a run."""

    def read(file: pq.ParquetFile) -> set[str]:
        groups = (file.read_row_group(n, columns=["shard"]) for n in range(file.num_row_groups))
        return {name for group in groups for name in group.column(0).unique().to_pylist()}

    return _read(folder, read)


def count_split(folder: RunFolder, split: str) -> int:
    """Return how many rows of a run belong to a split."""
    tables = _read_columns(folder, ["split"])
    return sum(table.column(0).to_pylist().count(split) for table in tables)


def iterate_labels(folder: RunFolder) -> Iterator[tuple[str, str | None]]:
    """Yield the path and the label of each image of a run, without its variants."""
    for table in _read_columns(folder, ["path", "label", "variant"]):
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        yield from ((path, label) for path, label, variant in rows if not variant)


def find_versions(folder: RunFolder, paths: list[str]) -> dict[str, tuple[int, int]]:
    """Return size in bytes and modification time in nanoseconds of some images, by path."""
    names, *values = _find(folder, paths, ["path", "size", "version"])
    return dict(zip(names, zip(*values, strict=True), strict=True))


def find_labels(folder: RunFolder, paths: list[str]) -> dict[str, str | None]:
    """Return the labels of some images, by path."""
    return dict(zip(*_find(folder, paths, ["path", "label"]), strict=True))


def _find(folder: RunFolder, paths: list[str], columns: list[str]) -> list[list[Any]]:
    """Return columns, of which the first is the path, of the rows with these paths."""
    table = _read(folder, lambda file: file.read(columns))
    # Not at the top: a command that only plans can do without these 9 MB.
    import pyarrow.compute as pc

    found = table.filter(pc.is_in(table.column("path"), pa.array(paths, pa.string())))
    return [column.to_pylist() for column in found.columns]


def _read_columns(folder: RunFolder, columns: list[str]) -> Iterator[pa.Table]:
    """Yield some columns of each batch."""
    for number in range(len(batch_sizes(folder))):
        yield _read_group(folder, number, columns)


def _read_group(folder: RunFolder, number: int, columns: list[str]) -> pa.Table:
    return _read(folder, lambda file: file.read_row_group(number, columns=columns))


def _read(folder: RunFolder, read: Callable[[pq.ParquetFile], _T]) -> _T:
    """Return what `read` reads from a manifest."""
    try:
        check_regular_file(folder.manifest)
        return read(_open(str(folder.manifest), os.stat(folder.manifest).st_mtime_ns))
    except (OSError, pa.ArrowException, ValueError, KeyError, OverflowError) as error:
        # A damaged footer, which has no checksum, raises any of these.
        kind = StorageError if is_refusal(error) else RunError
        raise kind(f"The manifest {folder.manifest} cannot be read: {error}.") from error


# The footer of a large manifest takes milliseconds to parse, and every task needs it.
@functools.lru_cache(maxsize=8)
def _open(path: str, modified_ns: int) -> pq.ParquetFile:
    file = pq.ParquetFile(path, page_checksum_verification=True)
    if not set(file.schema_arrow) >= set(_SCHEMA):
        raise ValueError("its columns are not those of a manifest")
    return file
