"""Make a storage, or take over that of an earlier version: for a person's commands only."""

import json
import uuid
from dataclasses import asdict
from pathlib import Path

from workers.errors import StorageError
from workers.storage.atomic import describe_refusal, put_once
from workers.storage.root import MARKER, Marker, is_earlier, no_storage
from workers.storage.trial import try_storage


def make_storage(root: Path) -> None:
    """Make sure that there is a storage at `root`, which can be written.

    Raises:
        StorageError: Says what to do.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The storage {root} cannot be made: {describe_refusal(error)} Or set POETS_STORAGE or "
            "--storage to another folder."
        ) from error
    _mark(root)


def use_storage(root: Path) -> None:
    """Make sure that the storage at `root` can be written; none is made.

    Raises:
        NoStorageError: When there is none.
        StorageError: Says what to do.
    """
    if not (root / MARKER).exists() and not is_earlier(root):
        raise no_storage(root)
    _mark(root)


def _mark(root: Path) -> None:
    try_storage(root)
    if not (root / MARKER).exists():
        marker = json.dumps(asdict(Marker(uuid.uuid4().hex)), indent=2) + "\n"
        put_once(root / MARKER, marker.encode())
