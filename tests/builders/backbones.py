"""A backbone of a few kilobytes, for tests that need some backbone and no pretrained one."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import workers.backbones
from workers.backbones.store import BackboneDescription, write_backbone
from workers.backbones.table import BackboneKey, find_spec, name_backbone
from workers.storage.layout import Storage
from workers.storage.making import make_storage

TINY_SPEC = find_spec("mobilenet_0.25_128")
# Neither random weights nor the digest of a file, so that nothing else has this identity.
TINY_WEIGHTS = "tiny"
TINY_ID = name_backbone(TINY_SPEC, TINY_WEIGHTS)
TINY = BackboneKey(TINY_SPEC.name, TINY_WEIGHTS, TINY_ID)
TINY_FILE = Path(workers.backbones.__file__).with_name("tiny.tflite")
# The quickest backbone that poets knows, with weights that need no file.
ARCHITECTURE, WEIGHTS = "mobilenet_0.25_128", "random-0"
BACKBONE_ID = name_backbone(find_spec(ARCHITECTURE), WEIGHTS)
BACKBONE = BackboneKey(ARCHITECTURE, WEIGHTS, BACKBONE_ID)
# The same, as options of a command.
TINY_OPTIONS = ("--architecture", ARCHITECTURE, "--weights", WEIGHTS)


def install_tiny(storage: Storage, weights: str = TINY_WEIGHTS) -> Storage:
    """Put the tiny backbone into `storage`, as a conversion would, and return it.

    Args:
        weights: The digest to know it by, for a test that runs a command: it can name random
            weights or a file, but not "tiny".
    """
    make_storage(storage.root)
    content = TINY_FILE.read_bytes()
    description = BackboneDescription(
        TINY_SPEC.name,
        weights,
        TINY_SPEC.input_size,
        TINY_SPEC.preprocessing,
        TINY_SPEC.bottleneck_size,
        hashlib.sha256(content).hexdigest(),
        images_per_second=1000.0,
    )
    write_backbone(storage, name_backbone(TINY_SPEC, weights), content, description)
    return storage


def build_tiny_model() -> Any:
    """Return the Keras model that the tiny backbone is converted from.

    One layer of 16 random filters, pooled to 4 x 4 cells: 16 x 4 x 4 = 256 numbers, which tell
    colours and coarse layout apart and change with the noise of a picture. RGB pixels (float32,
    0 to 255) in, shape (n, 128, 128, 3).
    """
    import keras

    generator = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((*TINY_SPEC.input_size, 3), name="pixels"),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(16, 4, strides=4, activation="relu", name="filters"),
            keras.layers.AveragePooling2D(4),
            keras.layers.Flatten(),
        ]
    )
    kernel = generator.normal(0, 0.3, (4, 4, 3, 16))
    bias = generator.normal(0, 0.3, 16)
    model.get_layer("filters").set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return model


def convert_tiny() -> bytes:
    """Return the tiny backbone made again, as LiteRT's file.

    ``python -m tests.builders.backbones`` writes it to `TINY_FILE`.
    """
    import tensorflow as tf

    content: bytes = tf.lite.TFLiteConverter.from_keras_model(build_tiny_model()).convert()
    return content


if __name__ == "__main__":
    TINY_FILE.write_bytes(convert_tiny())
