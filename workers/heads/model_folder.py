"""The folder of a saved model: all that is needed to use it elsewhere, and no program.

``model.json`` says what it is, ``head.npz`` holds plain arrays, ``labels.txt`` the labels
in order, ``backbone.tflite`` the converted backbone.
"""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.errors import ModelError
from workers.heads.head import SOFTMAX, Activation, Head
from workers.heads.promise import Promise
from workers.storage.atomic import storage_errors, sync_folder
from workers.storage.regular_files import (
    CONTENT_BYTES,
    FACTS_BYTES,
    NotRegularError,
    read_regular_file,
)
from workers.storage.root import make_folder
from workers.storage.temporary import temporary_in
from workers.storage.versioned_json import OtherVersionError, decode_versioned

MODEL_VERSION = 1
BACKBONE = "backbone.tflite"
MODEL_FILES = ("model.json", "head.npz", "labels.txt", BACKBONE)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before the backbone sees it.

    Attributes:
        input_size: Height and width in pixels.
        mode: How `workers.backbones.keras` scales pixels.
        inside_backbone: Whether ``backbone.tflite`` scales them itself.
    """

    input_size: tuple[int, int]
    mode: str | None = None
    resize: str = ""
    inside_backbone: bool = True


@dataclass(frozen=True)
class ModelCard:
    """``model.json``.

    Attributes:
        weights: Hash of the pretrained weights.
        backbone_sha256: Hash of ``backbone.tflite``, checked before it is used.
        counts: Images by split, and quarantined ones.
        metrics: Figures on validation and test, kept apart.
        thresholds: For each label the score from which on an image is sure, None when
            none is; None in all when no precision was asked for. The same for all labels,
            but for a model from before there were promises.
        promise: What was asked for, and how it was shown; None when nothing was.
        activation: "softmax": one label an image, or "sigmoid": any number of them.
    """

    name: str
    created: str
    architecture: str
    backbone_id: str
    weights: str
    backbone_sha256: str
    preprocessing: Preprocessing
    bottleneck_size: int
    labels: tuple[str, ...]
    counts: dict[str, int]
    metrics: dict[str, Any]
    training: dict[str, Any]
    versions: dict[str, str]
    thresholds: dict[str, float | None] | None = None
    activation: Activation = SOFTMAX
    version: int = MODEL_VERSION
    promise: Promise | None = None

    def __post_init__(self) -> None:
        """Refuse labels that cannot be told apart."""
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must all be different")

    def is_unsure(self, label: str, score: float) -> bool:
        """Whether a best label with this score misses the precision that was asked for."""
        if self.thresholds is None:
            return False
        threshold = self.thresholds.get(label)
        return threshold is None or score < threshold


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
    temporary = temporary_in(folder.parent)
    with storage_errors(f"write {folder}"):
        make_folder(folder.parent)
        temporary.mkdir()
        try:
            np.savez(temporary / "head.npz", weights=head.weights, bias=head.bias)
            (temporary / "model.json").write_text(_card_text(card), "utf-8")
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


def _card_text(card: ModelCard) -> str:
    values = asdict(card)
    if card.promise is None:
        del values["promise"]  # as every card was before there was such a field
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def labels_text(labels: tuple[str, ...]) -> str:
    """Return the content of ``labels.txt``: one a line, whatever a folder is called.

    `decode_name` turns a label back.
    """
    return "".join(label.replace("\n", "\\x0a") + "\n" for label in labels)


def copy_model(source: Path, target: Path, names: Sequence[str] = MODEL_FILES[:-1]) -> None:
    """Copy files of a model: by default not the backbone, which storage keeps once.

    Raises:
        ModelError: When one is missing, or a link, which could lead to any file.
        OSError: When `target` cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        (target / name).write_bytes(read_model_file(source, name))


def read_model_file(folder: Path, name: str, most_bytes: int = CONTENT_BYTES) -> bytes:
    """Return the content of one file of a model, which may come from anywhere.

    Raises:
        ModelError: When it is missing, cannot be read, is too large or no regular file.
    """
    try:
        return read_regular_file(folder / name, most_bytes)
    except FileNotFoundError as error:
        raise ModelError(f"The model {folder} has no {name}; copy the whole folder.") from error
    except NotRegularError as error:
        raise ModelError(
            f"The file {name} of model {folder} is not used: {error.strerror}."
        ) from error
    except OSError as error:
        raise ModelError(
            f"The file {name} of model {folder} cannot be read: {error.strerror}."
        ) from error


def read_card(folder: Path) -> ModelCard:
    """Return what a model is, checked: a model folder may come from anywhere.

    Raises:
        ModelError: When the folder holds no model that this poets can use.
    """
    try:
        content = read_model_file(folder, "model.json", FACTS_BYTES)
    except ModelError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ModelError(
                f"{folder} holds no model (no model.json). Give a run, a model folder, or 'latest'."
            ) from error
        raise
    try:
        return decode_versioned(content, ModelCard, MODEL_VERSION)
    except OtherVersionError as error:
        raise ModelError(
            f"Model {folder} has version {error}; this poets reads {MODEL_VERSION}. "
            "Use the version of poets that made it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The model {folder} is damaged: {error}.") from error


def read_head(folder: Path, card: ModelCard) -> Head:
    """Return the head of a model, checked against its card.

    Raises:
        ModelError: When arrays are missing, have wrong shapes, or are not finite.
    """
    content = io.BytesIO(read_model_file(folder, "head.npz"))
    try:
        _check_sizes(content, card)
        with np.load(content, allow_pickle=False) as arrays:
            weights, bias = (arrays[name].astype(np.float32) for name in ("weights", "bias"))
    # zipfile, zlib and NumPy's reader raise a dozen kinds of errors on damaged files, also
    # NotImplementedError, SyntaxError and, for a shape that is a lie, MemoryError.
    except Exception as error:
        raise ModelError(f"The head of model {folder} cannot be read: {error!r}.") from error
    head = Head(weights, bias, card.activation)
    expected = (card.bottleneck_size, len(card.labels))
    if head.weights.shape != expected or head.bias.shape != expected[1:]:
        raise ModelError(f"The head of model {folder} has shape {head.weights.shape}.")
    if not (np.isfinite(head.weights).all() and np.isfinite(head.bias).all()):
        raise ModelError(f"The head of model {folder} holds numbers that are not finite.")
    return head


def _check_sizes(archive: io.BytesIO, card: ModelCard) -> None:
    # A file of a few kilobytes can unpack to many gigabytes.
    most_bytes = 8 * (card.bottleneck_size + 1) * len(card.labels) + 4096
    with zipfile.ZipFile(archive) as members:
        unpacked = sum(member.file_size for member in members.infolist())
    if unpacked > most_bytes:
        raise ValueError(f"it unpacks to {unpacked} bytes")
    archive.seek(0)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@dataclass(frozen=True)
class Model:
    """A head with the card that says what it is."""

    card: ModelCard
    head: Head


def load_model(folder: Path) -> Model:
    """Return the model of a folder, checked.

    Raises:
        ModelError: When it is missing or damaged.
    """
    card = read_card(folder)
    return Model(card, read_head(folder, card))
