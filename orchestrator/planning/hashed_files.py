"""Files that were hashed to plan a run; storage keeps their digests, so that each is read once."""

import hashlib
import os
from pathlib import Path

from workers.images.files import version_of
from workers.storage.layout import Storage
from workers.storage.names import decode_name
from workers.storage.regular_files import open_regular_file
from workers.storage.shards import name_shard, write_digests

# In one file: as many as a few shards hold, since a plan keeps some of both in memory.
_MOST_ROWS = 4096


class HashedFiles:
    """Hashes files, and keeps the digests."""

    def __init__(self, storage: Storage) -> None:
        self._folder = storage.digests
        self._rows: list[tuple[str, int, int, bytes]] = []

    def saved(self) -> list[Path]:
        """Return the files of digests; `read_shard_index` reads them."""
        return sorted(self._folder.glob("*.arrow"))

    def has_saved(self, path: Path) -> bool:
        """Whether a file is one of digests."""
        return path.parent == self._folder

    def digest(self, uri: str, size: int, version: int) -> bytes | None:
        """Return the SHA-256 of a file, or None when it cannot be read or has changed.

        Args:
            uri, size, version: As a scan found it; see `workers.storage.shards.Shard`.

        Raises:
            StorageError: When the storage refuses to keep it.
        """
        try:
            # The scan lists links only where the run follows them.
            with open_regular_file(decode_name(uri), may_be_link=True) as file:
                digest = hashlib.file_digest(file, "sha256").digest()
                found = os.fstat(file.fileno())
        except OSError:
            return None  # the worker will say why
        if (found.st_size, version_of(found)) != (size, version):
            return None
        self._rows.append((uri, size, version, digest))
        if len(self._rows) >= _MOST_ROWS:
            self.save()
        return digest

    def save(self) -> None:
        """Write the digests that are not in storage yet.

        Raises:
            StorageError: When the storage refuses.
        """
        if self._rows:
            name = name_shard("", (row[:3] for row in self._rows))
            write_digests(self._folder / f"{name}.arrow", self._rows)
            self._rows = []
