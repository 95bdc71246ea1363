"""What the cache of bottlenecks already knows about the images of a new run."""

import hashlib
from dataclasses import dataclass

from orchestrator.progress import OnProgress, Progress, counted, ignore
from orchestrator.scan import FoundImage
from workers.errors import ShardError
from workers.storage.layout import Storage
from workers.storage.names import decode_name
from workers.storage.shards import read_shard_index


@dataclass(frozen=True, slots=True)
class Known:
    """Where the result for some content is."""

    shard: str
    row: int
    digest: bytes


class CacheIndex:
    """Index of all bottlenecks of one backbone.

    An image is known by (uri, size, version) without reading a byte; a moved or renamed
    one by its content, which is only read when some known image has its size and version.

    Attributes:
        unsettled: Shards with failures that may not repeat (gone, hung, no right), which
            a new run must not take for its own.
    """

    def __init__(
        self, storage: Storage, backbone_id: str, on_progress: OnProgress = ignore
    ) -> None:
        self._by_place: dict[tuple[str, int, int], Known] = {}
        self._by_digest: dict[bytes, Known] = {}
        self._fingerprints: set[tuple[int, int]] = set()
        self.unsettled: set[str] = set()
        shards = sorted(storage.bottlenecks(backbone_id).glob("*/*.arrow"))
        for path in counted(
            shards, lambda n: on_progress(Progress("reading the cache", note=f"{n:,} shards"))
        ):
            try:
                table = read_shard_index(path)
            except (ShardError, FileNotFoundError):
                continue  # counts as missing; whoever needs it computes it again
            columns = [table.column(n).to_pylist() for n in ("uri", "size", "version", "digest")]
            for row, (uri, size, version, digest) in enumerate(zip(*columns, strict=True)):
                if digest is None:
                    self.unsettled.add(path.stem)
                    continue
                known = Known(path.stem, row, digest)
                self._by_place[uri, size, version] = known
                self._by_digest[digest] = known
                self._fingerprints.add((size, version))

    def find(self, root: str, image: FoundImage) -> Known | None:
        """Return where the result for an image is, or None when it is new work."""
        uri = f"{root}/{image.path}"
        known = self._by_place.get((uri, image.size, image.version))
        if known is None and (image.size, image.version) in self._fingerprints:
            known = self._by_digest.get(_digest(decode_name(uri)) or b"")
        return known


def _digest(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None  # the worker will say why
