"""Converted backbones in shared storage: ``backbone.tflite`` and ``backbone.json``."""

import json
from pathlib import Path
from typing import Any

from workers.backbones.weights import digest_file
from workers.errors import ModelError, StorageError
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.layout import Storage


def has_backbone(storage: Storage, backbone_id: str) -> bool:
    """Return whether a backbone is there; ``backbone.json`` is written last."""
    return (storage.backbone(backbone_id) / "backbone.json").exists()


def read_description(storage: Storage, backbone_id: str) -> dict[str, Any]:
    """Return ``backbone.json``: architecture, input size, bottleneck size, hashes.

    Raises:
        ModelError: When the backbone is not there.
    """
    path = storage.backbone(backbone_id) / "backbone.json"
    try:
        description: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"The backbone {backbone_id} is not in storage: {error}.") from error
    return description


def whole_backbone(storage: Storage, backbone_id: str) -> Path:
    """Return the file of a backbone after comparing its hash.

    Raises:
        ModelError: When the backbone is not there.
        StorageError: When it is damaged; then it counts as missing from now on.
    """
    path = storage.backbone(backbone_id) / "backbone.tflite"
    expected = read_description(storage, backbone_id).get("sha256")
    if not path.is_file() or digest_file(path) != expected:
        with storage_errors(f"remove {path}"):
            (path.parent / "backbone.json").unlink(missing_ok=True)
        raise StorageError(f"The backbone {path} is damaged and has to be prepared again.")
    return path


def write_backbone(
    storage: Storage, backbone_id: str, content: bytes, description: dict[str, Any]
) -> None:
    """Put a converted backbone into storage.

    Raises:
        StorageError: When the storage refuses.
    """
    folder = storage.backbone(backbone_id)
    write_whole(folder / "backbone.tflite", content)
    write_whole(folder / "backbone.json", json.dumps(description, indent=2).encode())
