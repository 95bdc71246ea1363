"""Convert a backbone for LiteRT, once, into shared storage.

It is also the program that does so, so that the worker's process that asks for it never holds
TensorFlow's 850 MB.
"""

import functools
import hashlib
import tempfile
import timeit
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.backbones.litert import LiteRTBackbone
from workers.backbones.loading import check_identity
from workers.backbones.store import BackboneDescription, has_backbone, write_backbone
from workers.backbones.table import BackboneKey, BackboneSpec, find_spec
from workers.backbones.weights import digest_file, seed_of
from workers.errors import PoetsError, StorageError, WeightsError
from workers.processes.child import Child, DeathError, Tell, begin, serve
from workers.processes.heartbeat import Heartbeat
from workers.processes.surroundings import QUIET_TENSORFLOW
from workers.storage.atomic import is_outage
from workers.storage.layout import Storage
from workers.storage.temporary import scratch_prefix

_TIMEOUT_S = 1200


@dataclass(frozen=True)
class _Refusal:
    """Why a backbone was not converted.

    Attributes:
        is_of_storage: Whether the storage refused or is gone, so that another attempt may succeed.
    """

    reason: str
    is_of_storage: bool


def convert_backbone(storage: Storage, key: BackboneKey, heartbeat: Heartbeat) -> None:
    """Make sure that a backbone is in storage.

    Args:
        heartbeat: Called twice a second.

    Raises:
        OtherPoetsError: See `check_identity`.
        WeightsError: When the weights do not fit or cannot be converted.
        StorageError: When the storage refuses, or no process can start; another attempt may
            succeed.
    """
    check_identity(storage, key)
    if has_backbone(storage, key.id):
        return
    heartbeat()
    arguments = [str(storage.root)]
    child: Child[_Refusal | None] = Child(
        "workers.backbones.convert", arguments, _Refusal | None, heartbeat, QUIET_TENSORFLOW
    )
    refusal, death = None, None
    try:
        with child:
            [refusal] = child.answers(key, _TIMEOUT_S)
    except DeathError as died:
        death = died
    if has_backbone(storage, key.id):
        return
    if refusal is None:
        said = death and (death.last_words or death)
        raise RuntimeError(f"preparing {key.architecture} ended with: {said}") from death
    if refusal.is_of_storage:
        raise StorageError(refusal.reason)
    raise WeightsError(f"Cannot prepare {key.architecture}: {refusal.reason}")


def _convert(storage: Storage, key: BackboneKey) -> None:
    spec, digest = find_spec(key.architecture), key.weights_digest
    weights = None if seed_of(digest) is not None else storage.weights(digest)
    if weights is not None and digest_file(weights) != digest:
        raise WeightsError(f"The weights {weights} were altered. Delete the file and submit again.")
    # Only now: weights that were altered are refused without TensorFlow's seconds.
    import tensorflow as tf

    from workers.backbones.keras import build_keras_model, freeze

    model = build_keras_model(spec, weights, digest)
    signature = [tf.TensorSpec((None, *spec.input_size, 3), tf.float32, name="pixels")]
    traced = tf.function(lambda pixels: model(pixels, training=False), input_signature=signature)
    # The Keras model gives a file that computes the same, and takes 6 s longer.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(traced)])
    if spec.is_quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    speed = _check_agreement(content, model, spec)
    description = BackboneDescription(
        key.architecture,
        digest,
        spec.input_size,
        spec.preprocessing,
        spec.bottleneck_size,
        hashlib.sha256(content).hexdigest(),
        images_per_second=round(speed, 1),
    )
    write_backbone(storage, key.id, content, description)


def _check_agreement(content: bytes, model: Any, spec: BackboneSpec) -> float:
    """Return the images per second of one core, if the conversion computes what Keras does.

    Raises:
        WeightsError: When it does not.
    """
    # A conversion may fail silently: NaN, or a network without weights.
    noise = np.random.default_rng(0).integers(0, 256, (2, *spec.input_size, 3), np.uint8)
    expected = model(noise.astype(np.float32)).numpy()
    with tempfile.NamedTemporaryFile(prefix=scratch_prefix(), suffix=".tflite") as file:
        Path(file.name).write_bytes(content)
        backbone = LiteRTBackbone(Path(file.name), chunk=2)
    found = backbone.compute(noise)
    # 8-bit weights are an approximation by design; only nonsense is refused.
    tolerance = 0.25 if spec.is_quantized else 1e-3
    if not np.abs(found - expected).max() <= tolerance * np.abs(expected).max():
        raise WeightsError(f"The conversion of {spec.name} to LiteRT does not agree with Keras.")
    return len(noise) / min(timeit.repeat(lambda: backbone.compute(noise), number=1, repeat=5))


def _answer(storage: Storage, key: BackboneKey, tell: Tell) -> None:
    try:
        _convert(storage, key)
        tell(None)
    except PoetsError as error:
        is_of_storage = isinstance(error, StorageError) or is_outage(error, storage.root)
        tell(_Refusal(str(error), is_of_storage))


if __name__ == "__main__":
    [root] = begin()
    serve(BackboneKey, functools.partial(_answer, Storage(Path(root))))
