"""PyTorch's DataLoader before the same network, folded, traced and frozen; a process a core.

timm has no MobileNet v1 of this width with these weights, so the network is written out. Tried:
one process with a loader a core and two threads (175 to 254 images a second where this has 244
to 253: the threads wait for the loaders), eager (162), batches of 4 to 32, `torch.compile` (not
ready after 80 s).
"""

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.material import SIZE, Material
from tests.benchmarks.network import load_layers
from tests.benchmarks.rivals.meter import Meter
from tests.benchmarks.rivals.processes import Work, compute_in_pool, open_pool

_BATCH = 4


def open_network(material: Material) -> Work:
    import torch

    from tests.benchmarks.rivals.torch_network import MobileNet, Photographs

    torch.set_num_threads(1)
    network = MobileNet(load_layers(material.layers)).eval().to(memory_format=torch.channels_last)
    example = torch.zeros((_BATCH, SIZE, SIZE, 3), dtype=torch.uint8)
    with torch.inference_mode():
        frozen = torch.jit.freeze(torch.jit.trace(network, example))
        # The graph is optimised in its first runs.
        for _ in range(3):
            frozen(example)

    def work(paths: list[str]) -> NDArray[np.float32]:
        loader = torch.utils.data.DataLoader(Photographs(paths), batch_size=_BATCH)
        with torch.inference_mode():
            return np.concatenate([frozen(batch).numpy() for batch in loader])

    return work


def main() -> None:
    meter = Meter()
    with open_pool(meter, open_network) as pool:
        paths = meter.material.paths()
        meter.start()
        bottlenecks = compute_in_pool(pool, paths)
        meter.stop()
    meter.report(bottlenecks, "torch", "opencv-python-headless")


if __name__ == "__main__":
    main()
