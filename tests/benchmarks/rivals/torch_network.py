"""MobileNet v1, from folded layers, and photographs, as PyTorch knows them."""

import torch
from torch import nn
from torch.nn import functional

from tests.benchmarks.network import Layer
from tests.benchmarks.rivals.opencv_decode import read_pixels


class MobileNet(nn.Module):
    """From RGB pixels (uint8, (n, height, width, 3)) to bottlenecks (n, k)."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(map(_convolution, layers))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        for convolution in self.convolutions:
            if convolution.stride == (2, 2):
                values = functional.pad(values, (0, 1, 0, 1))
            values = functional.relu6(convolution(values))
        return values.mean((2, 3))


def _convolution(layer: Layer) -> nn.Conv2d:
    # PyTorch has (out, in / groups, height, width).
    order = (2, 3, 0, 1) if layer.is_depthwise else (3, 2, 0, 1)
    kernel = torch.tensor(layer.kernel).permute(order).contiguous()
    outputs, inputs, size, _ = kernel.shape
    groups = outputs if layer.is_depthwise else 1
    padding = size // 2 if layer.stride == 1 else 0
    convolution = nn.Conv2d(inputs * groups, outputs, size, layer.stride, padding, groups=groups)
    convolution.weight.data = kernel
    convolution.bias.data = torch.tensor(layer.bias)
    return convolution


class Photographs(torch.utils.data.Dataset[torch.Tensor]):
    """Pixels, uint8 (224, 224, 3), of the files at `paths`."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        return torch.from_numpy(read_pixels(self._paths[place]))
