"""What the cache of bottlenecks already knows about the images of a new run."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.dataset.scan import FoundImage
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.errors import ShardError
from workers.storage.layout import Storage
from workers.storage.names import decode_name
from workers.storage.regular_files import open_regular_file
from workers.storage.shards import read_shard_index

# Images come in the order of their paths, as the rows of shards do, so a few shards of
# each earlier run are enough.
_SHARDS_AT_HAND = 32
_COLUMNS = ("uri", "size", "version", "digest")
# Hashes, sorted, and the location of each.
_Lookup = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Known:
    """Where the result for some content is."""

    shard: str
    row: int
    digest: bytes


class CacheIndex:
    """Index of all bottlenecks of one backbone, 40 bytes an image.

    An image is known by (uri, size, version) without reading a byte; a moved or renamed
    one by its content, which is only read when some known image has its size and version.
    Only 64-bit hashes are held; what they find is compared with the shard itself, so two
    that are equal by chance never give a wrong answer.

    Args:
        with_failures: Whether a known failure counts as known; without, such images are
            new work, to be tried again.

    Attributes:
        unsettled: Shards with failures that a new run must not write to: those whose failures
            may not repeat (gone, hung, no right), or all of them, if they are not known.
    """

    def __init__(
        self,
        storage: Storage,
        backbone_id: str,
        on_progress: OnProgress = ignore,
        with_failures: bool = True,
    ) -> None:
        self.unsettled: set[str] = set()
        self._shards: list[Path] = []
        # What is found last is taken first: a bottleneck rather than a failure before it.
        failed, good = [np.empty((4, 0), np.int64)], []
        paths = sorted(storage.bottlenecks(backbone_id).glob("*/*.arrow"))
        for path in counted(
            paths, lambda n: on_progress(Progress("reading the cache", note=f"{n:,} shards"))
        ):
            try:
                table = read_shard_index(path)
            except (ShardError, FileNotFoundError):
                continue  # counts as missing, and is computed again when needed
            rows, is_failed = _hash_rows(table, len(self._shards))
            if table.column("digest").null_count or (is_failed.any() and not with_failures):
                self.unsettled.add(path.stem)
            if with_failures:
                failed.append(rows[:, is_failed])
            good.append(rows[:, ~is_failed])
            self._shards.append(path)
        identities, digests, fingerprints, locations = np.concatenate([*failed, *good], axis=1)
        self._by_uri = _sort(identities, locations)
        self._by_digest = _sort(digests, locations)
        self._fingerprints = np.unique(fingerprints)
        self._rows = functools.lru_cache(_SHARDS_AT_HAND)(_read_rows)

    def find(self, root: str, image: FoundImage) -> Known | None:
        """Return where the result for an image is, or None when it is new work."""
        uri = f"{root}/{image.path}"
        identity = (uri, image.size, image.version)
        for known, found in self._candidates(self._by_uri, _hash(identity)):
            if found == identity:
                return known
        if not self._has_fingerprint(image):
            return None
        digest = _digest(decode_name(uri))
        return self.find_content(digest) if digest else None

    def find_content(self, digest: bytes) -> Known | None:
        """Return where the result for content with this digest is, or None."""
        for known, _ in self._candidates(self._by_digest, _head(digest)):
            if known.digest == digest:
                return known
        return None

    def _candidates(
        self, lookup: _Lookup, key: int
    ) -> Iterator[tuple[Known, tuple[str, int, int]]]:
        """Yield the rows with a hash and what identifies each, the last one first."""
        hashes, locations = lookup
        first, end = (hashes.searchsorted(key, side) for side in ("left", "right"))
        for location in locations[first:end][::-1].tolist():
            shard, row = divmod(location, 1 << 32)
            path = self._shards[shard]
            rows = self._rows(path)
            if row < len(rows) and (digest := rows[row][3]) is not None:
                yield Known(path.stem, row, digest), rows[row][:3]

    def _has_fingerprint(self, image: FoundImage) -> bool:
        key = _hash((image.size, image.version))
        at = int(self._fingerprints.searchsorted(key))
        return at < len(self._fingerprints) and bool(self._fingerprints[at] == key)


def _sort(hashes: NDArray[np.int64], locations: NDArray[np.int64]) -> _Lookup:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], locations[order]


def _hash_rows(table: pa.Table, shard: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the hashes of identity, digest and fingerprint, and the location, of settled rows.

    Returns:
        int64, shape (4, rows with a digest); and for each of them whether it is a failure.
    """
    columns = (table.column(name).to_pylist() for name in _COLUMNS)
    rows = [
        (_hash((uri, size, version)), _head(digest), _hash((size, version)), shard << 32 | row)
        for row, (uri, size, version, digest) in enumerate(zip(*columns, strict=True))
        if digest is not None
    ]
    is_settled = table.column("digest").is_valid().to_numpy()
    is_failed = table.column("error").is_valid().to_numpy()[is_settled]
    return np.array(rows, np.int64).reshape(-1, 4).T, is_failed


def _read_rows(path: Path) -> list[tuple[str, int, int, bytes | None]]:
    """Return (uri, size, version, digest) of each row; nothing of a shard that was lost since."""
    try:
        table = read_shard_index(path)
    except (ShardError, FileNotFoundError):
        return []
    return list(zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True))


def _hash(key: tuple[str | int, ...]) -> int:
    # Python's hash: 64 bits, quick, and only compared within this process.
    return hash(key)


def _head(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big", signed=True)


def _digest(path: str) -> bytes | None:
    try:
        # The scan lists links only where the run follows them.
        with open_regular_file(path, may_be_link=True) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None  # the worker will say why
