"""Open the backbone of a run on the device of this worker."""

import functools
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workers.backbones import keras, litert
from workers.backbones.litert import LiteRTBackbone
from workers.backbones.store import read_description, whole_backbone
from workers.backbones.table import UNKNOWN_WEIGHTS, BackboneKey, find_spec, name_backbone
from workers.backbones.weights import seed_of
from workers.errors import OtherPoetsError
from workers.processes.capacity import Choice, default_threads, uses_gpu
from workers.settings import poets_version
from workers.storage.layout import Storage


class Backbone(Protocol):
    """What LiteRT and Keras have in common; they agree to within 1e-3 of the largest number.

    Attributes:
        input_size: Height and width in pixels.
        bottleneck_size: Numbers in one bottleneck.
        chunk: Images that are best computed together.
    """

    input_size: tuple[int, int]
    bottleneck_size: int
    chunk: int

    def compute(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return bottlenecks (n, bottleneck_size) for RGB pixels (n, height, width, 3)."""
        ...


@functools.lru_cache(maxsize=2)
def open_backbone(storage: Storage, key: BackboneKey, device: str) -> Backbone:
    """Return the backbone, loaded once in each process.

    Raises:
        OtherPoetsError: See `check_identity`.
        ModelError: When it has not been converted.
        StorageError: When it is damaged; it will be converted again.
    """
    check_identity(storage, key)
    spec, digest = find_spec(key.architecture), key.weights_digest
    weights = None if seed_of(digest) is not None else storage.weights(digest)
    # A model from elsewhere comes without the weights that Keras needs; 8-bit weights exist in
    # LiteRT only, and others would give other bottlenecks.
    can_use_keras = (weights is None or weights.exists()) and not spec.is_quantized
    if can_use_keras and uses_gpu(device):
        from workers.backbones.keras import KerasBackbone

        return KerasBackbone(spec, weights, digest)
    threads = default_threads(device).value
    return LiteRTBackbone(whole_backbone(storage, key.id), threads=threads)


def check_identity(storage: Storage, key: BackboneKey) -> None:
    """See that this poets would give a backbone the very identity that it has.

    Bottlenecks are cached under it, for good, so those of another version must not be.

    Raises:
        OtherPoetsError: When it would not.
        ModelError: When a backbone that came with a model is not in storage.
    """
    digest = key.weights_digest
    if digest == UNKNOWN_WEIGHTS:
        digest = read_description(storage, key.id).sha256
    if key.id != name_backbone(find_spec(key.architecture), digest):
        raise OtherPoetsError(
            f"poets {poets_version()} prepares images for {key.architecture} in another way "
            f"than the version that planned this, so its bottlenecks would not fit."
        )


def default_chunk(device: str) -> Choice:
    """Return how many images go through the network together."""
    if uses_gpu(device):
        return Choice(keras.CHUNK, "they keep a GPU busy")
    # With more, what a layer left falls out of the cache before the next one reads it.
    return Choice(litert.CHUNK, "best for the cache of a CPU")
