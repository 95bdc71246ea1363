"""tf.data with parallel decoding before a frozen graph with folded batch normalisation.

Tried: computing outside the pipeline (181 images a second where this has 399), batches of 4 to
64, one and two threads an operation, one to four parallel calls, private thread pools.
"""

from typing import Any

import numpy as np

from tests.benchmarks.material import SIZE
from tests.benchmarks.network import compute_in_tensorflow, load_layers
from tests.benchmarks.rivals.meter import Meter

BATCH = 8


def load(path: Any) -> Any:
    """Return pixels, float32 (224, 224, 3), 0 to 255, of the file at `path`."""
    import tensorflow as tf

    # The quicker of the two transforms.
    pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_FAST")
    return tf.image.resize(pixels, (SIZE, SIZE))


def main() -> None:
    meter = Meter()
    import tensorflow as tf

    material, paths = meter.material, meter.material.paths()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    layers = load_layers(material.layers)

    def open_pipeline(paths: list[str]) -> Any:
        dataset = tf.data.Dataset.from_tensor_slices(paths)
        dataset = dataset.map(load, num_parallel_calls=material.cores).batch(BATCH)
        dataset = dataset.map(
            lambda pixels: compute_in_tensorflow(layers, pixels),
            num_parallel_calls=material.cores + 1,
        )
        return dataset.prefetch(2)

    list(open_pipeline(paths[: 4 * BATCH]))
    pipeline = open_pipeline(paths)
    meter.start()
    found = [batch.numpy() for batch in pipeline]
    meter.stop()
    meter.report(np.concatenate(found), "tensorflow")


if __name__ == "__main__":
    main()
