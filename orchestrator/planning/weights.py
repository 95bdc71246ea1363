"""Bring pretrained weights into shared storage: found, or downloaded once and checked."""

import hashlib
import http.client
import shutil
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orchestrator.progress import OnProgress, Progress
from workers.backbones.table import BackboneKey, BackboneSpec, find_spec, name_backbone
from workers.backbones.weights import digest_file, find_weights, seed_of
from workers.errors import NoWeightsError, WeightsError
from workers.settings import Settings
from workers.storage.atomic import write_whole
from workers.storage.layout import Storage
from workers.storage.regular_files import open_regular_file

_TRIES = 3
_TIMEOUT_S = 20


class _NetworkError(Exception):
    """A download broke off; trying again may help."""


def locate_weights(
    settings: Settings, spec: BackboneSpec, given: Path | None, on_progress: OnProgress
) -> str:
    """Return the hash of the weights to use, after putting them into shared storage.

    Args:
        given: A file to use rather than look for one.

    Raises:
        WeightsError: Names the file and where to put it.
    """
    if given is not None and not given.is_file():
        raise WeightsError(f"There is no weights file {str(given)!r}. Check the path.")
    path = given or find_weights(spec, [*settings.weights_dirs, settings.storage / "downloads"])
    if path is None:
        path = settings.storage / "downloads" / spec.weights_file
        download_weights(spec, path, on_progress)
    try:
        # Opened once: what is copied is what was hashed, whatever takes its place meanwhile.
        with open_regular_file(path, may_be_link=given is not None) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            target = Storage(settings.storage).weights(digest)
            if not target.exists():
                file.seek(0)
                write_whole(target, lambda temporary: _copy(file, temporary))
    except OSError as error:
        raise WeightsError(f"Cannot read the weights {path}: {error.strerror}.") from error
    return digest


def resolve_backbone(
    settings: Settings, architecture: str, weights: str | Path | None, on_progress: OnProgress
) -> BackboneKey:
    """Return which backbone an architecture has with these weights, which are then in storage.

    Args:
        weights: A file, "random-SEED" for seeded random weights, or None to look for them.
    """
    spec = find_spec(architecture)
    if isinstance(weights, str) and seed_of(weights) is not None:
        digest = weights
    else:
        given = Path(weights) if weights is not None else None
        digest = locate_weights(settings, spec, given, on_progress)
    return BackboneKey(spec.name, digest, name_backbone(spec, digest))


def fetch_weights(settings: Settings, architecture: str, on_progress: OnProgress) -> Path:
    """Bring pretrained weights into storage, where later runs find them by themselves."""
    spec = find_spec(architecture)
    digest = locate_weights(settings, spec, None, on_progress)
    kept = settings.storage / "downloads" / spec.weights_file
    if not kept.exists() or digest_file(kept) != digest:
        stored = Storage(settings.storage).weights(digest)
        with open_regular_file(stored) as file:
            write_whole(kept, lambda temporary: _copy(file, temporary))
    return kept


def download_weights(spec: BackboneSpec, path: Path, on_progress: OnProgress) -> None:
    """Download Keras' own weights file to `path`, whole or not at all.

    Raises:
        WeightsError: Without a network, or when the file is not what Keras publishes.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            write_whole(path, lambda temporary: _fetch(spec, temporary, on_progress))
            return
        except _NetworkError as error:
            if attempt == _TRIES:
                raise NoWeightsError(
                    f"No weights for {spec.name}, and they cannot be downloaded ({error}).",
                    spec.weights_file,
                    str(path.parent),
                    spec.weights_url,
                ) from error
            time.sleep(attempt)


def _fetch(spec: BackboneSpec, target: Path, on_progress: OnProgress) -> None:
    done = expected = 0
    with target.open("wb") as file:
        for block, expected in _blocks(spec.weights_url):
            file.write(block)
            done += len(block)
            on_progress(Progress("downloading weights", note=_describe(done, expected)))
    if expected and done != expected:
        raise _NetworkError(f"{done} of {expected} bytes came")
    if spec.weights_md5 and digest_file(target, "md5") != spec.weights_md5:
        raise WeightsError(
            f"The download of {spec.weights_file} has a wrong checksum and was thrown away. "
            "Try again, or check who answers for your network."
        )


def _describe(done: int, expected: int) -> str:
    return f"{done / 1e6:.1f}{f' of {expected / 1e6:.1f}' if expected else ''} MB"


def _blocks(url: str) -> Iterator[tuple[bytes, int]]:
    # Kept apart from the writing, so that a full disk is not taken for a bad network.
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our table
            expected = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(1 << 18):
                yield block, expected
    except (OSError, http.client.HTTPException) as error:
        raise _NetworkError(str(getattr(error, "reason", error))) from error


def _copy(file: BinaryIO, target: Path) -> None:
    with target.open("wb") as copy:
        shutil.copyfileobj(file, copy)
