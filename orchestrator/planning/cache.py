"""What the cache of bottlenecks already knows about the images of a new run."""

import contextlib
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.dataset.scan import FoundImage
from orchestrator.planning.hashed_files import HashedFiles
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.errors import ShardError
from workers.storage.layout import Storage
from workers.storage.shards import has_warnings, read_shard_index

# Images come in the order of their paths, as the rows of shards do, so a few shards of
# each earlier run are enough.
_SHARDS_AT_HAND = 32
_COLUMNS = ("uri", "size", "version", "digest")
# Images, and variants of them, of the kind of which the version that wrote shards without
# warnings read many wrongly. It also refused others that are read today.
_TIFF = re.compile(r"\.tiff?(?:\\\?|$)", re.IGNORECASE)
_NO_ROWS = np.empty((4, 0), np.int64)
# Hashes, sorted, and the location of each.
_Lookup = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Known:
    """Where the result for some content is; `shard` is empty where only its digest is known."""

    shard: str
    row: int
    digest: bytes


class CacheIndex:
    """Index of all bottlenecks of one backbone, 40 bytes an image.

    An image is known by (uri, size, version) without reading a byte; a moved, copied or
    touched one by its content, which is read once, and only when some known image has its
    size. Only 64-bit hashes are held; what they find is compared with the shard itself, so
    two that are equal by chance never give a wrong answer.

    Args:
        with_failures: Whether a known failure counts as known; without, such images are
            new work, to be tried again.

    Attributes:
        unsettled: Shards with failures that a new run must not write to: those whose failures
            may not repeat (gone, hung, no right), or all of them, if they are not known; and
            those of earlier versions with images that are read in another way today.
    """

    def __init__(
        self,
        storage: Storage,
        backbone_id: str,
        on_progress: OnProgress = ignore,
        with_failures: bool = True,
    ) -> None:
        self.unsettled: set[str] = set()
        self._hashed = HashedFiles(storage)
        self._unread: set[int] = set()
        self._paths: list[Path] = []
        self._shards: list[str] = []
        # What is found last is taken first: a bottleneck rather than a failure before it.
        hashed, failed, good = [_NO_ROWS], [_NO_ROWS], [_NO_ROWS]
        shards = sorted(storage.bottlenecks(backbone_id).glob("*/*.arrow"))
        for path, table in self._tables([*self._hashed.saved(), *shards], on_progress):
            rows, is_failed, is_outdated = _hash_rows(table, len(self._paths) - 1)
            if not self._shards[-1]:
                hashed.append(rows)
                continue
            self._unread.update(_hash_unread(table))
            is_unknown = is_outdated if with_failures else is_outdated | is_failed
            if table.column("digest").null_count or is_unknown.any():
                self.unsettled.add(path.stem)
            failed.append(rows[:, is_failed & ~is_unknown])
            good.append(rows[:, ~is_failed & ~is_unknown])
        known = np.concatenate([*failed, *good], axis=1)
        identities, _, _, locations = np.concatenate([*hashed, known], axis=1)
        self._by_uri = _sort(identities, locations)
        self._by_digest = _sort(known[1], known[3])
        self._sizes = np.unique(known[2])
        self._rows = functools.lru_cache(_SHARDS_AT_HAND)(lambda n: _read_rows(self._paths[n]))

    def _tables(
        self, paths: list[Path], on_progress: OnProgress
    ) -> Iterator[tuple[Path, pa.Table]]:
        """Yield each file that is whole; it is the last of `_paths` and of `_shards` then."""
        for path in counted(
            paths, lambda n: on_progress(Progress("reading the cache", note=f"{n:,} shards"))
        ):
            # What is damaged counts as missing, and is computed or hashed again when needed.
            with contextlib.suppress(ShardError, FileNotFoundError):
                table = read_shard_index(path)
                self._paths.append(path)
                self._shards.append("" if self._hashed.has_saved(path) else path.stem)
                yield path, table

    def find(self, root: str, image: FoundImage) -> Known | None:
        """Return where the result for an image is, or None when it is new work."""
        identity = (f"{root}/{image.path}", image.size, image.version)
        for known, found in self._candidates(self._by_uri, _hash(identity)):
            if found == identity:
                return known if known.shard else self.find_content(known.digest)
        # What hung or killed the worker that read it must not do that here.
        if not self._has_size(image.size) or _hash(identity) in self._unread:
            return None
        digest = self._hashed.digest(*identity)
        return self.find_content(digest) if digest else None

    def save_hashed(self) -> None:
        """Keep the digests of the files that `find` has read, for later plans.

        Raises:
            StorageError: When the storage refuses.
        """
        self._hashed.save()

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
        at = int(hashes.searchsorted(key, "right")) - 1
        while at >= 0 and hashes[at] == key:
            number, row = divmod(int(locations[at]), 1 << 32)
            rows = self._rows(number)
            if row < len(rows) and (digest := rows[row][3]) is not None:
                yield Known(self._shards[number], row, digest), rows[row][:3]
            at -= 1

    def _has_size(self, size: int) -> bool:
        at = int(self._sizes.searchsorted(size))
        return at < len(self._sizes) and bool(self._sizes[at] == size)


def _sort(hashes: NDArray[np.int64], locations: NDArray[np.int64]) -> _Lookup:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], locations[order]


def _hash_rows(
    table: pa.Table, number: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the hashes of identity and digest, the size, and the location, of settled rows.

    Returns:
        int64, shape (4, rows with a digest); and for each of them whether it is a failure, and
        whether today's version may give something else.
    """
    columns = (table.column(name).to_pylist() for name in _COLUMNS)
    rows = [
        (_hash((uri, size, version)), _head(digest), size, number << 32 | row)
        for row, (uri, size, version, digest) in enumerate(zip(*columns, strict=True))
        if digest is not None
    ]
    is_settled = table.column("digest").is_valid().to_numpy()
    is_failed = table.column("error").is_valid().to_numpy()[is_settled]
    is_outdated = np.zeros(len(rows), np.bool_)
    if not has_warnings(table):
        uris = table.column("uri").to_pylist()
        is_tiff = np.array([_TIFF.search(uri) is not None for uri in uris], np.bool_)
        is_outdated = is_failed | is_tiff[is_settled]
    return np.array(rows, np.int64).reshape(-1, 4).T, is_failed, is_outdated


def _hash_unread(table: pa.Table) -> list[int]:
    """Return the hashes of the identities of images that could not be read to their end."""
    if not table.column("digest").null_count:
        return []
    unread = table.filter(table.column("digest").is_null())
    columns = (unread.column(name).to_pylist() for name in _COLUMNS[:3])
    return [_hash(identity) for identity in zip(*columns, strict=True)]


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
