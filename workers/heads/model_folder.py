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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workers.backbones.store import has_backbone, read_description, write_backbone
from workers.backbones.table import find_spec
from workers.backbones.weights import digest_file
from workers.errors import ModelError
from workers.heads.head import ACTIVATIONS, SOFTMAX, Head
from workers.storage.atomic import storage_errors, sync_folder
from workers.storage.layout import Storage

MODEL_VERSION = 1
MODEL_FILES = ("model.json", "head.npz", "labels.txt", "backbone.tflite")


@dataclass(frozen=True)
class ModelCard:
    """``model.json``.

    Attributes:
        weights: Hash of the pretrained weights.
        backbone_sha256: Hash of ``backbone.tflite``, checked before it is used.
        counts: Images by split, and quarantined ones.
        metrics: Figures on validation and test, kept apart.
        thresholds: For each label the score from which on an image is sure, None when
            none is; None in all when no precision was asked for.
        activation: "softmax": one label an image, or "sigmoid": any number of them.
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
    thresholds: dict[str, float | None] | None = None
    activation: str = SOFTMAX
    version: int = field(default=MODEL_VERSION)

    def is_unsure(self, label: str, score: float) -> bool:
        """Return whether a best label with this score misses the precision asked for."""
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
    """Return what a model is, checked: a model folder may come from anywhere.

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
        _check_values(values)
        return ModelCard(**{**values, "labels": tuple(values["labels"])})
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} holds no model (no model.json). Give a run, a model folder, or 'latest'."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"The model {folder} is damaged: {error!r}.") from error


def _check_values(values: dict[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError for what no trainer of ours writes."""
    kinds = {"labels": list, "bottleneck_size": int, "preprocessing": dict, "metrics": dict}
    texts = ("name", "created", "architecture", "backbone_id", "weights", "backbone_sha256")
    for name, kind in {**kinds, **dict.fromkeys(texts, str)}.items():
        if not isinstance(values[name], kind):
            raise TypeError(f"{name} is {values[name]!r}")
    activation = values.get("activation", SOFTMAX)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}")
    thresholds = values.get("thresholds")
    if thresholds is not None and not (
        isinstance(thresholds, dict)
        and all(number is None or isinstance(number, int | float) for number in thresholds.values())
    ):
        raise TypeError(f"thresholds is {thresholds!r}")
    labels = values["labels"]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
        raise ValueError("labels must be texts, all different")
    # Text that no file can hold.
    "".join([*labels, *(values[name] for name in texts)]).encode()
    height, width = values["preprocessing"]["input_size"]
    if not (isinstance(height, int) and isinstance(width, int)):
        raise TypeError(f"input_size is {height!r}, {width!r}")


def read_head(folder: Path, card: ModelCard) -> Head:
    """Return the head of a model, checked against its card.

    Raises:
        ModelError: When arrays are missing, have wrong shapes, or are not finite.
    """
    try:
        content = io.BytesIO((folder / "head.npz").read_bytes())
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
    # A few kilobytes can unpack to many gigabytes.
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


# Stands for the weights of a backbone that was not converted here.
UNKNOWN_WEIGHTS = "unknown"


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


def check_backbone(folder: Path, card: ModelCard) -> Path:
    """Return the backbone file of a model after comparing its hash.

    Raises:
        ModelError: When it is missing or altered.
    """
    path = folder / "backbone.tflite"
    if not path.is_file():
        raise ModelError(f"The model {folder} has no backbone.tflite; copy the whole folder.")
    if digest_file(path) != card.backbone_sha256:
        raise ModelError(f"The backbone of model {folder} was altered; it is not used.")
    return path


def install_backbone(storage: Storage, folder: Path, card: ModelCard) -> tuple[str, str]:
    """Make sure that storage has the backbone of a model; return its identity and weights.

    A model may come from anywhere, so its card alone proves nothing: what is not the very
    file that poets converted here is kept under its own hash, and never serves a run that
    trains.

    Raises:
        ModelError: When the model's own copy is missing or altered.
    """
    if has_backbone(storage, card.backbone_id):
        known = read_description(storage, card.backbone_id)
        if known["sha256"] == card.backbone_sha256:
            return card.backbone_id, known["weights"]
    backbone_id = f"{find_spec(card.architecture).name}-{card.backbone_sha256}"
    if not has_backbone(storage, backbone_id):
        description = {
            "architecture": card.architecture,
            "weights": UNKNOWN_WEIGHTS,
            "input_size": card.preprocessing["input_size"],
            "preprocessing": card.preprocessing.get("mode"),
            "bottleneck_size": card.bottleneck_size,
            "sha256": card.backbone_sha256,
        }
        content = check_backbone(folder, card).read_bytes()
        write_backbone(storage, backbone_id, content, description)
    return backbone_id, UNKNOWN_WEIGHTS
