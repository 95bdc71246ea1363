"""Thumbnails of the photographs of a run, as many as fit into the page and the time."""

import time

from workers.bottlenecks.batches import file_path
from workers.errors import ImageError, StorageError
from workers.images.loading import load_thumbnail
from workers.processes.heartbeat import Heartbeat
from workers.storage.manifest import find_versions
from workers.storage.plan import Run

HEIGHT, WIDEST = 180, 270  # pixels
MOST = 400
MOST_BYTES = 2_800_000
# A run whose bottlenecks are cached takes a few seconds in all. 200 photographs from the web
# take 0.35 s; of photographs with twelve megapixels, 70 a second are made.
PATIENCE_S = 1.5


def make_thumbnails(run: Run, paths: list[str], heartbeat: Heartbeat) -> list[bytes | None]:
    """Return a JPEG for each of the first paths, until size or time is used up.

    None stands for a photograph that is gone, was changed since the run was planned, or
    cannot be read.

    Args:
        paths: As in the manifest, most important first.
        heartbeat: Called after each, to show that work is going on.
    """
    versions = find_versions(run.folder, paths[:MOST])
    end = time.monotonic() + PATIENCE_S
    made: list[bytes | None] = []
    size_bytes = 0
    for path in paths[:MOST]:
        if size_bytes >= MOST_BYTES or time.monotonic() > end:
            break
        picture = _load(file_path(run.plan, path), versions.get(path))
        size_bytes += len(picture or b"")
        made.append(picture)
        heartbeat()
    return made


def _load(path: str, version: tuple[int, int] | None) -> bytes | None:
    try:
        return load_thumbnail(path, HEIGHT, WIDEST, version)
    # A page with a gap is better than no model.
    except (ImageError, StorageError, MemoryError):
        return None
