"""The Keras model of a backbone: it runs on a GPU, and the LiteRT model is converted from it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.backbones.table import BackboneSpec
from workers.backbones.weights import describe_origin, seed_of
from workers.errors import WeightsError
from workers.processes.surroundings import PLAIN_KERAS

# Images computed together on a GPU.
CHUNK = 128


def build_keras_model(spec: BackboneSpec, weights: Path | None, weights_digest: str) -> Any:
    """Return a Keras model from RGB pixels (float32, 0 to 255) to bottlenecks.

    Preprocessing is part of the model, so no caller can get it wrong.

    Args:
        weights: HDF5 file with Keras' own layout (arrays only, no program), or None for
            the random weights that `weights_digest` names.

    Raises:
        WeightsError: When the file does not fit the architecture.
    """
    os.environ.update(PLAIN_KERAS)
    import keras

    seed = seed_of(weights_digest)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    height, width = spec.input_size
    network = getattr(keras.applications, spec.keras_name)(
        input_shape=(height, width, 3),
        include_top=False,
        pooling="avg",
        weights=None,
        **({} if spec.alpha is None else {"alpha": spec.alpha}),
    )
    if weights is not None:
        try:
            with _named_by_layout(weights) as path:
                network.load_weights(path)
        except (ValueError, OSError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise WeightsError(
                f"The weights {describe_origin(weights)} do not fit {spec.name}: {reason}. "
                f"Keras calls the right file {spec.weights_file}."
            ) from error
    pixels = keras.Input((height, width, 3), name="pixels")
    return keras.Model(pixels, network(_preprocess(keras, pixels, spec.preprocessing)))


@contextlib.contextmanager
def _named_by_layout(weights: Path) -> Iterator[str]:
    """Yield a path under which Keras reads the file: it tells its two layouts by the name."""
    import h5py

    with h5py.File(weights) as file:
        is_of_keras_3 = "layers" in file and "layer_names" not in file.attrs
    if not is_of_keras_3:
        yield str(weights)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "own.weights.h5")
        link.symlink_to(weights.absolute())
        yield str(link)


def _preprocess(keras: Any, pixels: Any, mode: str) -> Any:
    if mode == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    if mode == "caffe":
        mean = np.array([103.939, 116.779, 123.68], np.float32)
        return pixels[..., ::-1] - mean
    return pixels


def freeze(function: Any) -> Any:
    """Return a traced function with its variables as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function.get_concrete_function())


class KerasBackbone:
    """A backbone for a GPU, with the interface of LiteRTBackbone."""

    chunk = CHUNK

    def __init__(self, spec: BackboneSpec, weights: Path | None, weights_digest: str) -> None:
        self._model = build_keras_model(spec, weights, weights_digest)
        self.input_size = spec.input_size
        self.bottleneck_size = spec.bottleneck_size
        # The first pass may compile for minutes; no image is to blame for that.
        self.compute(np.zeros((1, *spec.input_size, 3), np.uint8))

    def compute(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return one bottleneck for each image; see LiteRTBackbone.compute."""
        results = np.empty((len(pixels), self.bottleneck_size), np.float32)
        for start in range(0, len(pixels), self.chunk):
            part = pixels[start : start + self.chunk]
            padded = np.zeros((self.chunk, *part.shape[1:]), np.float32)
            padded[: len(part)] = part
            found = self._model.predict_on_batch(padded)
            results[start : start + len(part)] = found[: len(part)]
        return results
