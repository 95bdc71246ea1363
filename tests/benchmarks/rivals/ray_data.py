"""Ray Data's ``map_batches``: ``python -m tests.benchmarks.rivals.ray_data MATERIAL keras|litert``.

One actor a core, each decoding and computing by itself with one thread.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import SIZE, Material, build_keras, open_material
from tests.benchmarks.rivals.meter import Meter
from tests.benchmarks.rivals.opencv_decode import read_pixels
from workers.backbones.litert import LiteRTBackbone

_BATCH = 32
_POLL_S = 0.01


def open_litert(material: Material) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    return LiteRTBackbone(material.backbone).compute


def open_keras(material: Material) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model: Any = build_keras(material)
    return lambda pixels: np.asarray(model.predict_on_batch(pixels))


_NETWORKS = {"keras": open_keras, "litert": open_litert}


class Predictor:
    """An actor. It is ready when it has loaded and warmed up, and waits for the others.

    Ray starts actors with the execution itself, so without that their start-up would count.
    """

    def __init__(self, folder: str, network: str, gate: str) -> None:
        self._compute = _NETWORKS[network](open_material(folder))
        self._compute(np.zeros((_BATCH, SIZE, SIZE, 3), np.uint8))
        Path(gate, f"ready-{os.getpid()}").touch()
        while not Path(gate, "go").exists():
            time.sleep(_POLL_S)

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        pixels = np.array([read_pixels(path) for path in batch["item"]])
        return {"path": batch["item"], "bottleneck": self._compute(pixels)}


def main() -> None:
    meter = Meter()
    import ray
    import ray.data

    network, material = sys.argv[2], meter.material
    paths, cores = material.paths(), material.cores
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
        object_store_memory=256 * 1024**2,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as gate:
        dataset = ray.data.from_items(paths, override_num_blocks=-(-len(paths) // _BATCH))
        dataset = dataset.map_batches(
            Predictor,
            fn_constructor_args=(material.folder, network, gate),
            batch_size=_BATCH,
            concurrency=cores,
            num_cpus=1,
        )
        rows: list[dict[str, Any]] = []
        run = threading.Thread(target=lambda: rows.extend(dataset.take_all()))
        run.start()
        while len(list(Path(gate).glob("ready-*"))) < cores and run.is_alive():
            time.sleep(_POLL_S)
        meter.start()
        Path(gate, "go").touch()
        run.join()
        meter.stop()
    found = {row["path"]: row["bottleneck"] for row in rows}
    packages = ("ray", "keras", "tensorflow") if network == "keras" else ("ray", "ai-edge-litert")
    meter.report(np.array([found[path] for path in paths]), *packages)
    ray.shutdown()


if __name__ == "__main__":
    main()
