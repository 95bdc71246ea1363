"""Pretrained weights: found by Keras' file names, identified by their hash."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from workers.backbones.table import BackboneSpec
from workers.errors import WeightsError
from workers.settings import home_folder
from workers.storage.regular_files import open_regular_file, read_regular_file

_HDF5 = b"\x89HDF\r\n\x1a\n"
# By the version of the superblock: where it says how long addresses are, and where the file ends.
_SUPERBLOCKS = {0: (13, 40), 1: (13, 44), 2: (9, 28), 3: (9, 28)}
_SUPERBLOCK_BYTES = 96
# What is found in the place of weights, by its first bytes in lower case.
_OTHERS = {
    "a web page, such as the log-in page of a network": (b"<!doctype", b"<html", b"<?xml", b"<!--"),
    "the pointer of Git LFS to a file (`git lfs pull` brings it)": (b"version https://git-lfs",),
    "compressed; unpack it": (b"\x1f\x8b", b"bzh", b"\xfd7zxz", b"\x28\xb5\x2f\xfd"),
    "a ZIP file, such as a whole model (.keras)": (b"pk\x03\x04",),
}


def seed_of(weights_digest: str) -> int | None:
    """Return the seed if the digest, "random-SEED", stands for random weights without a file."""
    match = re.fullmatch(r"random-(\d+)", weights_digest)
    return int(match[1]) if match else None


def find_weights(spec: BackboneSpec, folders: Iterable[Path]) -> Path | None:
    """Return the weights file of an architecture, or None.

    Looks in each folder and its subfolders, then where Keras keeps its downloads.
    """
    home = os.environ.get("KERAS_HOME") or (home_folder() or Path()) / ".keras"
    for folder in (*folders, Path(home).expanduser() / "models"):
        direct = folder / spec.weights_file
        if direct.is_file():
            return direct
        found = folder.rglob(spec.weights_file) if folder.is_dir() else ()
        deeper = sorted(path for path in found if path.is_file())
        if deeper:
            return deeper[0]
    return None


def check_weights(path: Path, *, may_be_link: bool = False) -> None:
    """See that a file can hold weights: that it is HDF5, and whole.

    Whether they fit an architecture only Keras can tell.

    Raises:
        WeightsError: Names the file, and what it is instead.
    """
    try:
        with open_regular_file(path, may_be_link=may_be_link) as file:
            fault = find_fault(file)
    except OSError as error:
        raise WeightsError(f"Cannot read the weights {path}: {error.strerror}.") from error
    if fault:
        raise WeightsError(f"The file {path} holds no weights: {fault}. Replace it.")


def find_fault(file: BinaryIO) -> str:
    """Return why a file cannot be a whole HDF5 file; "" where it can."""
    head, size = file.read(_SUPERBLOCK_BYTES), os.fstat(file.fileno()).st_size
    if not size:
        return "it is empty"
    if not head.startswith(_HDF5):
        begins = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        known = (what for what, signs in _OTHERS.items() if begins.startswith(signs))
        return f"it is {next(known, 'not an HDF5 file')}"
    expected = _expected_bytes(head)
    return f"it breaks off after {size:,} of {expected:,} bytes" if size < expected else ""


def describe_origin(weights: Path) -> str:
    """Return the path that weights in storage were copied from, which a person can replace."""
    try:
        return os.fsdecode(read_regular_file(weights.with_suffix(".origin")))
    except OSError:  # of an earlier version, or a file that was never in storage
        return str(weights)


def _expected_bytes(head: bytes) -> int:
    """Return the size that an HDF5 file says it has, by its superblock; 0 where it does not."""
    if len(head) < _SUPERBLOCK_BYTES:
        return _SUPERBLOCK_BYTES
    length_at, end_at = _SUPERBLOCKS.get(head[len(_HDF5)], (0, 0))
    return int.from_bytes(head[end_at : end_at + head[length_at]], "little") if end_at else 0


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
