"""The folded graph of `tf_data`, but one TensorFlow a core: each decodes and computes alone."""

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import SIZE, Material
from tests.benchmarks.network import compute_in_tensorflow, load_layers
from tests.benchmarks.rivals.meter import Meter
from tests.benchmarks.rivals.processes import Work, compute_in_pool, open_pool
from tests.benchmarks.rivals.tf_data import BATCH, load


def open_graph(material: Material) -> Work:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = load_layers(material.layers)
    pixels = tf.TensorSpec((SIZE, SIZE, 3), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def compute(paths: tf.Tensor) -> tf.Tensor:
        loaded = tf.map_fn(load, paths, fn_output_signature=pixels, parallel_iterations=1)
        return compute_in_tensorflow(layers, loaded)

    def work(paths: list[str]) -> NDArray[np.float32]:
        parts = (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))
        return np.concatenate([compute(part).numpy() for part in parts])

    return work


def main() -> None:
    meter = Meter()
    with open_pool(meter, open_graph) as pool:
        paths = meter.material.paths()
        meter.start()
        bottlenecks = compute_in_pool(pool, paths)
        meter.stop()
    meter.report(bottlenecks, "tensorflow")


if __name__ == "__main__":
    main()
