"""LiteRT's forward passes alone, one process a core: nothing is read, decoded or written."""

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.meter import Meter
from tests.benchmarks.rivals.processes import SLICE, Work, compute_in_pool, open_pool
from workers.backbones.litert import LiteRTBackbone
from workers.images.loading import OpenImage


def open_forward(material: Material) -> Work:
    backbone = LiteRTBackbone(material.backbone)
    paths = material.paths()[:SLICE]
    pixels = np.array([OpenImage(path, backbone.input_size).cut() for path in paths])

    def work(paths: list[str]) -> NDArray[np.float32]:
        return backbone.compute(pixels[: len(paths)])

    return work


def main() -> None:
    meter = Meter()
    with open_pool(meter, open_forward) as pool:
        paths = meter.material.paths()
        meter.start()
        compute_in_pool(pool, paths)
        meter.stop()
    meter.report(None, "ai-edge-litert")


if __name__ == "__main__":
    main()
