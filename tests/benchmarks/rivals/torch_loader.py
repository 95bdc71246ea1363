"""PyTorch's DataLoader before the same network, folded, traced and frozen.

timm has no MobileNet v1 of this width with these weights, so the network is written out. Tried:
eager (162 images a second where this has 254), batches of 4 to 32, one loader or one a core,
one thread or two, a process a core (253), `torch.compile` (not ready after 80 s).
"""

import numpy as np

from tests.benchmarks.material import SIZE
from tests.benchmarks.network import load_layers
from tests.benchmarks.rivals.meter import Meter

_BATCH = 8


def main() -> None:
    meter = Meter()
    import torch

    from tests.benchmarks.rivals.opencv_decode import read_pixels
    from tests.benchmarks.rivals.torch_network import MobileNet

    class Photographs(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, place: int) -> torch.Tensor:
            return torch.from_numpy(read_pixels(paths[place]))

    material, paths = meter.material, meter.material.paths()
    torch.set_num_threads(material.cores)
    network = MobileNet(load_layers(material.layers)).eval().to(memory_format=torch.channels_last)
    example = torch.zeros((_BATCH, SIZE, SIZE, 3), dtype=torch.uint8)
    loader = torch.utils.data.DataLoader(
        Photographs(), batch_size=_BATCH, num_workers=material.cores, persistent_workers=True
    )
    with torch.inference_mode():
        frozen = torch.jit.freeze(torch.jit.trace(network, example))
        # The graph is optimised in its first runs.
        for _ in range(3):
            frozen(example)
        next(iter(loader))  # the loaders start, and stay
        meter.start()
        found = [frozen(batch).numpy() for batch in loader]
        meter.stop()
    meter.report(np.concatenate(found), "torch", "opencv-python-headless")


if __name__ == "__main__":
    main()
