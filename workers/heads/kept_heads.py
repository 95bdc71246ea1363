"""Heads that gradient descent keeps at some of its steps, as small files beside the model."""

import io
from pathlib import Path

import numpy as np

from workers.heads.head import Head
from workers.storage.atomic import storage_errors, write_whole


def keep_head(folder: Path, step: int, head: Head) -> None:
    """Write the head after a step in the format of ``head.npz``, whole or not at all.

    Raises:
        StorageError: When the storage refuses.
    """
    content = io.BytesIO()
    np.savez(content, weights=head.weights, bias=head.bias)
    write_whole(folder / f"{step}.npz", content.getvalue())


def list_kept(folder: Path) -> dict[int, Path]:
    """Return the file of each kept head by its step, in order; none without the folder."""
    with storage_errors(f"read {folder}"):
        found = {int(path.stem): path for path in folder.glob("[0-9]*.npz")}
    return dict(sorted(found.items()))
