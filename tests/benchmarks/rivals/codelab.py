"""The codelab's way, written from its description: one image at a time, a text file for each.

TensorFlow 1: JPEG decoding, resizing and the frozen graph through ``session.run``; every
bottleneck as comma-separated numbers in a text file; then gradient descent that reads the
files of 100 random images at every step, and of 100 more at every tenth. Left out are its
TensorBoard summaries. ``python -m tests.benchmarks.rivals.codelab MATERIAL [STEPS]``.
"""

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import SIZE, Material
from tests.benchmarks.rivals.meter import Meter

_BATCH, _RATE, _EVALUATE_EVERY = 100, 0.01, 10


class Codelab:
    """The session, and the tensors that it is asked for."""

    def __init__(self, tf: Any, material: Material) -> None:
        self.tf = tf
        graph = tf.compat.v1.GraphDef()
        graph.ParseFromString(material.frozen_graph.read_bytes())
        self.fed, self.bottleneck = tf.import_graph_def(
            graph, name="", return_elements=["input:0", "bottleneck:0"]
        )
        self.jpeg = tf.compat.v1.placeholder(tf.string)
        decoded = tf.cast(tf.image.decode_jpeg(self.jpeg, channels=3), tf.float32)
        resized = tf.compat.v1.image.resize_bilinear(tf.expand_dims(decoded, 0), [SIZE, SIZE])
        self.pixels = (resized - 127.5) * (1 / 127.5)
        self.session = tf.compat.v1.Session()

    def write_bottleneck(self, path: str, target: Path) -> None:
        pixels = self.session.run(self.pixels, {self.jpeg: Path(path).read_bytes()})
        values = np.squeeze(self.session.run(self.bottleneck, {self.fed: pixels}))
        target.write_text(",".join(str(value) for value in values))

    def train(self, files: list[Path], labels: list[int], steps: int) -> None:
        v1 = self.tf.compat.v1
        width, count = self.bottleneck.shape[1], max(labels) + 1
        given = v1.placeholder(self.tf.float32, (None, width))
        truth = v1.placeholder(self.tf.int64, (None,))
        weights = v1.Variable(v1.truncated_normal((width, count), stddev=0.001))
        bias = v1.Variable(self.tf.zeros((count,)))
        logits = self.tf.matmul(given, weights) + bias
        loss = v1.losses.sparse_softmax_cross_entropy(truth, logits)
        step = v1.train.GradientDescentOptimizer(_RATE).minimize(loss)
        right = self.tf.equal(self.tf.argmax(logits, 1), truth)
        accuracy = self.tf.reduce_mean(self.tf.cast(right, self.tf.float32))
        self.session.run(v1.global_variables_initializer())

        def draw() -> dict[Any, Any]:
            rows = random.choices(range(len(files)), k=_BATCH)
            return {
                given: [read_bottleneck(files[row]) for row in rows],
                truth: [labels[row] for row in rows],
            }

        for number in range(steps):
            batch = draw()
            self.session.run(step, batch)
            if number % _EVALUATE_EVERY == 0 or number == steps - 1:
                self.session.run([accuracy, loss], batch)
                self.session.run(accuracy, draw())


def read_bottleneck(file: Path) -> list[float]:
    return [float(value) for value in file.read_text().split(",")]


def cache_bottlenecks(codelab: Codelab, paths: list[str], folder: Path) -> list[Path]:
    """Write a text file for each photograph, and read it back, as the codelab does."""
    files = []
    for path in paths:
        label = folder / Path(path).parent.name
        label.mkdir(exist_ok=True)
        files.append(label / f"{Path(path).name}.txt")
        codelab.write_bottleneck(path, files[-1])
        read_bottleneck(files[-1])
    return files


def main() -> None:
    meter = Meter()
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    material = meter.material
    paths = material.paths()
    codelab = Codelab(tf, material)
    with tempfile.TemporaryDirectory(dir=material.folder) as scratch:
        folder = Path(scratch)
        cache_bottlenecks(codelab, paths[:1], folder)
        meter.start()
        files = cache_bottlenecks(codelab, paths, folder)
        meter.stop()
        found: NDArray[np.float32] = np.array([read_bottleneck(f) for f in files], np.float32)
        names = [file.parent.name for file in files]
        labels = [sorted(set(names)).index(name) for name in names]
        more: dict[str, Any] = {}
        if steps := int(sys.argv[2]) if len(sys.argv) > 2 else 0:
            started = time.perf_counter()
            codelab.train(files, labels, steps)
            more = {"steps": steps, "head_s": time.perf_counter() - started}
    meter.report(found, "tensorflow", **more)


if __name__ == "__main__":
    main()
