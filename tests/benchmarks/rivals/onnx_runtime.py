"""ONNX Runtime behind poets' own decode, one process a core."""

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import SIZE, Material
from tests.benchmarks.rivals.meter import Meter
from tests.benchmarks.rivals.processes import Work, compute_in_pool, open_pool
from workers.images.loading import OpenImage

_CHUNK = 8


def open_session(material: Material) -> Work:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        material.onnx, options, providers=["CPUExecutionProvider"]
    )
    (source,) = (given.name for given in session.get_inputs())

    def work(paths: list[str]) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(paths), _CHUNK):
            part = paths[start : start + _CHUNK]
            pixels = np.array([OpenImage(path, (SIZE, SIZE)).cut() for path in part])
            found.append(session.run(None, {source: pixels})[0])
        return np.concatenate(found)

    return work


def main() -> None:
    meter = Meter()
    with open_pool(meter, open_session) as pool:
        paths = meter.material.paths()
        meter.start()
        bottlenecks = compute_in_pool(pool, paths)
        meter.stop()
    meter.report(bottlenecks, "onnxruntime")


if __name__ == "__main__":
    main()
