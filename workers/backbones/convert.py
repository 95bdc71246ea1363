"""Convert a backbone for LiteRT, once, into shared storage.

Runs as a program of its own (``python -m workers.backbones.convert``), so that the
worker child that asked for it never holds TensorFlow's 850 MB.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.litert import LiteRTBackbone
from workers.backbones.store import has_backbone, write_backbone
from workers.backbones.table import BackboneKey, BackboneSpec, find_spec
from workers.backbones.weights import digest_file, seed_of
from workers.errors import PoetsError, StorageError, WeightsError
from workers.processes.heartbeat import Heartbeat
from workers.processes.parent_death import end_with_parent
from workers.storage.layout import Storage

_PROGRAM = "workers.backbones.convert"
_TIMEOUT_S = 1200
# Exit codes: whether to try again depends on what refused.
_WEIGHTS_REFUSED, _STORAGE_REFUSED = 3, 4


def convert_backbone(storage: Storage, key: BackboneKey, heartbeat: Heartbeat) -> None:
    """Make sure that a backbone is in storage.

    Args:
        heartbeat: Called now and then, to show that the work goes on.

    Raises:
        WeightsError: When the weights do not fit or cannot be converted.
        StorageError: When the storage refuses; trying again may help.
    """
    if has_backbone(storage, key.id):
        return
    request = json.dumps(astuple(key))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM, str(storage.root), request, str(os.getpid())],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stdout=subprocess.DEVNULL,
            stderr=messages,
        )
        try:
            _wait(process, heartbeat)
        finally:
            process.kill()
            process.wait()
        messages.seek(0)
        lines = messages.read().strip().splitlines() or [f"exit code {process.returncode}"]
    if has_backbone(storage, key.id):
        return
    if process.returncode == _STORAGE_REFUSED:
        raise StorageError(lines[-1])
    if process.returncode != _WEIGHTS_REFUSED:
        raise RuntimeError(f"preparing {key.architecture} ended with: {lines[-1]}")
    raise WeightsError(f"Cannot prepare {key.architecture}: {lines[-1]}")


def _wait(process: subprocess.Popen[bytes], heartbeat: Heartbeat) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    heartbeat()
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        heartbeat()


def _convert(storage: Storage, key: BackboneKey) -> None:
    import tensorflow as tf

    from workers.backbones.keras import build_keras_model

    spec, digest = find_spec(key.architecture), key.weights_digest
    weights = None if seed_of(digest) is not None else storage.weights(digest)
    if weights is not None and digest_file(weights) != digest:
        raise WeightsError(f"The weights {weights} were altered. Delete the file and submit again.")
    model = build_keras_model(spec, weights, digest)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if spec.is_quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    speed = _check_agreement(content, model, spec)
    description = {
        "architecture": key.architecture,
        "weights": digest,
        "input_size": spec.input_size,
        "preprocessing": spec.preprocessing,
        "bottleneck_size": spec.bottleneck_size,
        "sha256": hashlib.sha256(content).hexdigest(),
        "images_per_second": round(speed, 1),
    }
    write_backbone(storage, key.id, content, description)


def _check_agreement(content: bytes, model: Any, spec: BackboneSpec) -> float:
    """Return the images a second of one core, if the conversion computes what Keras does."""
    # A conversion that goes wrong does so silently: NaN, or a network without weights.
    noise = np.random.default_rng(0).integers(0, 256, (2, *spec.input_size, 3), np.uint8)
    expected = model(noise.astype(np.float32)).numpy()
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        Path(file.name).write_bytes(content)
        backbone = LiteRTBackbone(Path(file.name), chunk=2)
    found = backbone.compute(noise)
    # 8-bit weights are an approximation by design; only nonsense is refused there.
    tolerance = 0.25 if spec.is_quantized else 1e-3
    if not np.abs(found - expected).max() <= tolerance * np.abs(expected).max():
        raise WeightsError(f"The conversion of {spec.name} to LiteRT does not agree with Keras.")
    return _measure_speed(backbone, noise)


def _measure_speed(backbone: LiteRTBackbone, pixels: NDArray[np.uint8]) -> float:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        backbone.compute(pixels)
        seconds.append(time.perf_counter() - start)
    return len(pixels) / min(seconds)


def main() -> None:
    """Convert what the command line asks for; the last line of stderr says what failed."""
    root, request, parent = sys.argv[1:]
    end_with_parent(parent=int(parent))
    try:
        _convert(Storage(Path(root)), BackboneKey(*json.loads(request)))
    except PoetsError as error:
        print(error, file=sys.stderr)
        sys.exit(_STORAGE_REFUSED if isinstance(error, StorageError) else _WEIGHTS_REFUSED)


if __name__ == "__main__":
    main()
