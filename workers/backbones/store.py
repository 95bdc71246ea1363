"""Converted backbones in shared storage: ``backbone.tflite`` and ``backbone.json``."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from workers.backbones.weights import digest_file
from workers.errors import ModelError, StorageError
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.layout import Storage
from workers.storage.regular_files import read_regular_file


@dataclass(frozen=True)
class BackboneDescription:
    """What ``backbone.json`` says.

    Attributes:
        weights: Their digest, or "unknown".
        input_size: Height and width in pixels.
        preprocessing: See `BackboneSpec`.
        sha256: Of ``backbone.tflite``.
        images_per_second: Of one core; None for a backbone that came with a model.
    """

    architecture: str
    weights: str
    input_size: tuple[int, int]
    preprocessing: str | None
    bottleneck_size: int
    sha256: str
    images_per_second: float | None = None


def has_backbone(storage: Storage, backbone_id: str) -> bool:
    """Whether a backbone is in storage; ``backbone.json`` is written last."""
    return (storage.backbone(backbone_id) / "backbone.json").exists()


def read_description(storage: Storage, backbone_id: str) -> BackboneDescription:
    """Read ``backbone.json``.

    Raises:
        ModelError: When the backbone is not in storage.
    """
    path = storage.backbone(backbone_id) / "backbone.json"
    try:
        return msgspec.json.decode(read_regular_file(path), type=BackboneDescription)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"The backbone {backbone_id} is not in storage: {error}.") from error


def whole_backbone(storage: Storage, backbone_id: str) -> Path:
    """Return the file of a backbone whose hash was compared.

    Raises:
        ModelError: When the backbone is not in storage.
        StorageError: When it is damaged; from then on it counts as missing.
    """
    path = storage.backbone(backbone_id) / "backbone.tflite"
    try:
        expected = read_description(storage, backbone_id).sha256
    except ModelError:
        if not has_backbone(storage, backbone_id):
            raise
        expected = ""  # the description itself is damaged
    if path.is_symlink() or not path.is_file() or digest_file(path) != expected:
        with storage_errors(f"remove {path}"):
            (path.parent / "backbone.json").unlink(missing_ok=True)
        raise StorageError(f"The backbone {path} is damaged and has to be prepared again.")
    return path


def write_backbone(
    storage: Storage, backbone_id: str, content: bytes, description: BackboneDescription
) -> None:
    """Put a converted backbone into storage.

    Raises:
        StorageError: When the storage refuses.
    """
    folder = storage.backbone(backbone_id)
    write_whole(folder / "backbone.tflite", content)
    known = asdict(description)
    if description.images_per_second is None:
        del known["images_per_second"]
    write_whole(folder / "backbone.json", json.dumps(known, indent=2).encode())
