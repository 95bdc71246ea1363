"""Bring pretrained weights into shared storage: found, or downloaded once and checked."""

import base64
import binascii
import contextlib
import hashlib
import http.client
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from orchestrator.progress import OnProgress, Progress
from workers.backbones.table import BackboneKey, BackboneSpec, find_spec, name_backbone
from workers.backbones.weights import (
    check_weights,
    digest_file,
    find_fault,
    find_weights,
    seed_of,
)
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
    if given is not None and given.is_dir():
        raise WeightsError(f"{str(given)!r} is a folder. Give the weights file itself.")
    if given is not None and not given.is_file():
        raise WeightsError(f"There is no weights file {str(given)!r}. Check the path.")
    path = given or find_weights(spec, [*settings.weights_dirs, settings.storage / "downloads"])
    if path is None:
        path = settings.storage / "downloads" / spec.weights_file
        download_weights(spec, path, on_progress)
    check_weights(path, may_be_link=given is not None)
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
    # For who has to replace it, should Keras refuse it.
    write_whole(
        Storage(settings.storage).weights_origin(digest), os.fsencode(os.path.abspath(path))
    )
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
    done, expected, md5 = 0, 0, spec.weights_md5
    with target.open("wb") as file:
        for block, headers in _blocks(spec.weights_url):
            file.write(block)
            done += len(block)
            expected = int(headers.get("Content-Length") or 0)
            md5 = md5 or _published_md5(headers)
            on_progress(Progress("downloading weights", note=_describe(done, expected)))
    if expected and done != expected:
        raise _NetworkError(f"{done} of {expected} bytes came")
    with target.open("rb") as file:
        fault = find_fault(file)
    if not fault and md5 and digest_file(target, "md5") != md5:
        fault = "it has a wrong checksum"
    if fault:
        raise NoWeightsError(
            f"What came for {spec.weights_file} was thrown away: {fault}. Log in to your network "
            "if it asks for that, and try again.",
            spec.weights_file,
            str(target.parent),
            spec.weights_url,
        )


def _describe(done: int, expected: int) -> str:
    return f"{done / 1e6:.1f}{f' of {expected / 1e6:.1f}' if expected else ''} MB"


def _published_md5(headers: Message) -> str | None:
    """Return the MD5 that the publisher's server says its file has, if it does."""
    for text in headers.get_all("x-goog-hash", []):
        for part in text.split(","):
            name, _, value = part.strip().partition("=")
            if name == "md5":
                with contextlib.suppress(binascii.Error):
                    return base64.b64decode(value).hex()
    return None


def _blocks(url: str) -> Iterator[tuple[bytes, Message]]:
    # Kept apart from the writing, so that a full disk is not taken for a bad network.
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our table
            while block := answer.read(1 << 18):
                yield block, answer.headers
    except (OSError, http.client.HTTPException) as error:
        raise _NetworkError(str(getattr(error, "reason", error))) from error


def _copy(file: BinaryIO, target: Path) -> None:
    with target.open("wb") as copy:
        shutil.copyfileobj(file, copy)
