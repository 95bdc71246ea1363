"""The loop of poets' own worker processes, one a core, without queue and shards."""

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.meter import Meter
from tests.benchmarks.rivals.processes import Work, compute_in_pool, open_pool
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request


def open_loop(material: Material) -> Work:
    backbone = LiteRTBackbone(material.backbone)

    def work(paths: list[str]) -> NDArray[np.float32]:
        requests = [Request(path) for path in paths]
        results = list(compute_results(requests, backbone, lambda: None))
        return np.array([result.bottleneck for result in results])

    return work


def main() -> None:
    meter = Meter()
    with open_pool(meter, open_loop) as pool:
        paths = meter.material.paths()
        meter.start()
        bottlenecks = compute_in_pool(pool, paths)
        meter.stop()
    meter.report(bottlenecks, "ai-edge-litert", "pillow")


if __name__ == "__main__":
    main()
