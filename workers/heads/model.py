"""The folder of a saved model: all that is needed to use it elsewhere; no program in it.

``model.json`` says what it is, ``head.npz`` holds plain arrays, ``labels.txt`` the labels
in order, ``backbone.tflite`` the converted backbone.
"""

import io
import json
import os
import shutil
import uuid
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workers.errors import ModelError
from workers.heads.head import Head
from workers.storage.atomic import storage_errors, sync_folder

MODEL_VERSION = 1
# What np.load raises for files that are not, or not any more, archives of arrays.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, TypeError, AttributeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
MODEL_FILES = ("model.json", "head.npz", "labels.txt", "backbone.tflite")


@dataclass(frozen=True)
class ModelCard:
    """``model.json``.

    Attributes:
        weights: Hash of the pretrained weights.
        backbone_sha256: Hash of ``backbone.tflite``, checked before it is used.
        counts: Images by split, and quarantined ones.
        metrics: Figures on validation and test, kept apart.
    """

    name: str
    created: str
    architecture: str
    backbone_id: str
    weights: str
    backbone_sha256: str
    preprocessing: dict[str, Any]
    bottleneck_size: int
    labels: tuple[str, ...]
    counts: dict[str, int]
    metrics: dict[str, Any]
    training: dict[str, Any]
    versions: dict[str, str]
    version: int = field(default=MODEL_VERSION)


def save_model(
    folder: Path, card: ModelCard, head: Head, backbone: Path, extra: dict[str, bytes]
) -> bool:
    """Save a model unless there is one already; return whether this call did it.

    The folder appears whole or not at all.

    Args:
        extra: Further files (reports) by name.

    Raises:
        StorageError: When the storage refuses.
    """
    temporary = folder.parent / f".tmp-{uuid.uuid4().hex}"
    with storage_errors(f"write {folder}"):
        temporary.mkdir()
        try:
            np.savez(temporary / "head.npz", weights=head.weights, bias=head.bias)
            text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
            (temporary / "model.json").write_text(text, "utf-8")
            (temporary / "labels.txt").write_text(labels_text(card.labels), "utf-8")
            for name, content in extra.items():
                (temporary / name).write_bytes(content)
            _link_or_copy(backbone, temporary / "backbone.tflite")
            for path in temporary.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            try:
                temporary.rename(folder)
            except FileExistsError:
                return False
            except OSError:
                if folder.exists():
                    return False
                raise
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return True


def labels_text(labels: tuple[str, ...]) -> str:
    """Return the content of ``labels.txt``: one a line, whatever a folder is called.

    `decode_name` turns a label back.
    """
    return "".join(label.replace("\n", "\\x0a") + "\n" for label in labels)


def copy_model(source: Path, target: Path) -> None:
    """Copy the files of a model (not the backbone, which storage keeps once)."""
    target.mkdir(parents=True)
    for name in MODEL_FILES[:-1]:
        shutil.copyfile(source / name, target / name)


def read_card(folder: Path) -> ModelCard:
    """Return what a model is.

    Raises:
        ModelError: When the folder holds no model that this poets can use.
    """
    try:
        values = json.loads((folder / "model.json").read_bytes())
        if values["version"] != MODEL_VERSION:
            raise ModelError(
                f"Model {folder} has version {values['version']}; this poets reads "
                f"{MODEL_VERSION}. Use the version of poets that made it."
            )
        return ModelCard(**{**values, "labels": tuple(values["labels"])})
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} holds no model (no model.json). Give a run, a model folder, or 'latest'."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The model {folder} is damaged: {error!r}.") from error


def read_head(folder: Path, card: ModelCard) -> Head:
    """Return the head of a model, checked against its card.

    Raises:
        ModelError: When arrays are missing, have wrong shapes, or are not finite.
    """
    try:
        content = io.BytesIO((folder / "head.npz").read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            head = Head(arrays["weights"].astype(np.float32), arrays["bias"].astype(np.float32))
    except _DAMAGED as error:
        raise ModelError(f"The head of model {folder} cannot be read: {error}.") from error
    expected = (card.bottleneck_size, len(card.labels))
    if head.weights.shape != expected or head.bias.shape != expected[1:]:
        raise ModelError(f"The head of model {folder} has shape {head.weights.shape}.")
    if not (np.isfinite(head.weights).all() and np.isfinite(head.bias).all()):
        raise ModelError(f"The head of model {folder} holds numbers that are not finite.")
    return head


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
