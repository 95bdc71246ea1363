"""The backbone that comes with a model: checked, and taken into the storage."""

import hashlib
from pathlib import Path

from workers.backbones.store import (
    BackboneDescription,
    has_backbone,
    read_description,
    write_backbone,
)
from workers.backbones.table import UNKNOWN_WEIGHTS, BackboneKey, find_spec, name_backbone
from workers.errors import ModelError, OtherPoetsError
from workers.heads.model_folder import BACKBONE, ModelCard, read_model_file
from workers.storage.layout import Storage


def check_backbone(folder: Path, card: ModelCard) -> Path:
    """Return the backbone file of a model after comparing its hash.

    Raises:
        ModelError: When it is missing or altered.
    """
    read_backbone(folder, card)
    return folder / BACKBONE


def read_backbone(folder: Path, card: ModelCard) -> bytes:
    """Return the content of the backbone file of a model after comparing its hash.

    Raises:
        ModelError: When it is missing, altered, or no regular file.
    """
    content = read_model_file(folder, BACKBONE)
    if hashlib.sha256(content).hexdigest() != card.backbone_sha256:
        raise ModelError(f"The backbone of model {folder} was altered; it is not used.")
    return content


def install_backbone(storage: Storage, folder: Path, card: ModelCard) -> BackboneKey:
    """Make sure that storage has the backbone of a model, and return which it is.

    A model may come from anywhere, so its card alone proves nothing: a backbone that is not
    the very file that poets converted here is kept under its own hash, and never used by a
    run that trains.

    Raises:
        ModelError: When the model's own copy is missing or altered.
        OtherPoetsError: When this poets would give the head other bottlenecks than those it
            was trained on.
    """
    spec = find_spec(card.architecture)
    if card.backbone_id != name_backbone(spec, card.weights):
        raise OtherPoetsError(
            f"The model {folder} was trained by a version of poets that prepares images in "
            "another way. Train it again with this version, or label with that one."
        )
    if has_backbone(storage, card.backbone_id):
        known = read_description(storage, card.backbone_id)
        if known.sha256 == card.backbone_sha256:
            return BackboneKey(card.architecture, known.weights, card.backbone_id)
    backbone_id = name_backbone(spec, card.backbone_sha256)
    if not has_backbone(storage, backbone_id):
        description = BackboneDescription(
            card.architecture,
            UNKNOWN_WEIGHTS,
            card.preprocessing.input_size,
            card.preprocessing.mode,
            card.bottleneck_size,
            card.backbone_sha256,
        )
        write_backbone(storage, backbone_id, read_backbone(folder, card), description)
    return BackboneKey(card.architecture, UNKNOWN_WEIGHTS, backbone_id)
