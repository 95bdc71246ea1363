"""Pretrained weights: found by Keras' file names, identified by their hash."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from workers.backbones.table import BackboneSpec
from workers.errors import WeightsError
from workers.storage.regular_files import open_regular_file


def seed_of(weights_digest: str) -> int | None:
    """Return the seed if the digest, "random-SEED", stands for random weights without a file."""
    match = re.fullmatch(r"random-(\d+)", weights_digest)
    return int(match[1]) if match else None


def find_weights(spec: BackboneSpec, folders: Iterable[Path]) -> Path | None:
    """Return the weights file of an architecture, or None.

    Looks in each folder and its subfolders, then where Keras keeps its downloads.
    """
    keras_home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    for folder in (*folders, keras_home / "models"):
        direct = folder / spec.weights_file
        if direct.is_file():
            return direct
        found = folder.rglob(spec.weights_file) if folder.is_dir() else ()
        deeper = sorted(path for path in found if path.is_file())
        if deeper:
            return deeper[0]
    return None


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a regular file's content.

    Raises:
        WeightsError: When it cannot be read.
    """
    try:
        with open_regular_file(path) as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise WeightsError(f"Cannot read the weights {path}: {error.strerror}.") from error
