"""A decoded picture and the pixels that are cut out of it.

OpenCV resizes: Pillow's own resize costs as much as its decode.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.images.distortions import PLAIN, Draw

Pixels = NDArray[Any]
# A worker child has one core.
cv2.setNumThreads(0)

# EXIF orientation, tag 0x0112 -> what makes the picture upright; 1 is upright already.
_MAKE_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.swapaxes(0, 1),
    6: lambda seen: seen[::-1].swapaxes(0, 1),
    7: lambda seen: seen[::-1, ::-1].swapaxes(0, 1),
    8: lambda seen: seen[:, ::-1].swapaxes(0, 1),
}
ORIENTATIONS = frozenset(_MAKE_UPRIGHT)
_SIDEWAYS = {5, 6, 7, 8}


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, from which pixels can be cut any number of times.

    Attributes:
        values: RGB (height, width, 3), or RGB multiplied by its opacity and the opacity
            (height, width, 4), or grey (height, width): uint8; wide grey is float32.
        orientation: Of EXIF, one of ORIENTATIONS.
        shades: For wide grey, the values that are black and white.
        damage: What is wrong with the data that it was decoded from; None for nothing.
        is_faint: Its values use so little of their range that it is all but black, or white.
    """

    values: Pixels
    orientation: int
    shades: tuple[float, float] = (0, 255)
    damage: str | None = None
    is_faint: bool = False

    @property
    def warning(self) -> str | None:
        """What a person should know who relies on the picture."""
        if self.damage:
            return f"damaged: {self.damage}"
        return "faint: all but black or white" if self.is_faint else None

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width as a viewer shows it."""
        rows, columns = self.values.shape[:2]
        return (columns, rows) if self.is_sideways else (rows, columns)

    @property
    def is_sideways(self) -> bool:
        return self.orientation in _SIDEWAYS


def cut_pixels(picture: Picture, input_size: tuple[int, int], draw: Draw) -> NDArray[np.uint8]:
    """Return upright RGB pixels of shape (height, width, 3) of a picture, distorted as drawn.

    Raises:
        MemoryError: When this machine has too little.
    """
    pixels = _cut(picture, input_size, draw)
    if draw.is_flipped:
        pixels = pixels[:, ::-1]
    if draw.brightness != 1:
        bright = pixels * np.float32(draw.brightness)
        pixels = np.rint(np.minimum(bright, 255)).astype(np.uint8)
    return pixels


def _cut(picture: Picture, input_size: tuple[int, int], draw: Draw) -> NDArray[np.uint8]:
    """Return a part of the picture as RGB; resized first, as the rest then costs less."""
    size = input_size[::-1] if picture.is_sideways else input_size
    small = _resize_part(picture.values, size, draw.box)
    if small.ndim == 3 and small.shape[2] == 4:
        white = 255 - small[..., 3:].astype(np.uint16)
        small = np.minimum(small[..., :3] + white, 255).astype(np.uint8)
    if small.dtype == np.float32:
        low, high = picture.shades
        shades = (small.astype(np.float64) - low) / (high - low) * 255
        small = np.clip(np.rint(shades), 0, 255).astype(np.uint8)
    if small.ndim == 2:
        small = np.repeat(small[..., np.newaxis], 3, axis=2)
    return _MAKE_UPRIGHT[picture.orientation](small)


def _resize_part(
    values: Pixels, size: tuple[int, int], box: tuple[float, float, float, float]
) -> Pixels:
    """Return a part at `size`, cut out of the enlarged picture as the codelab does."""
    left, top, right, lower = box
    height, width = size
    if box == PLAIN.box:
        return _resize(values, height, width)
    rows, columns = round(height / (lower - top)), round(width / (right - left))
    first_row = min(round(top * rows), rows - height)
    first_column = min(round(left * columns), columns - width)
    whole = _resize(values, rows, columns)
    return whole[first_row : first_row + height, first_column : first_column + width]


def _resize(values: Pixels, height: int, width: int) -> Pixels:
    # Linear interpolation reads two pixels only: what shrinks to less than a third is
    # averaged first, or most of the picture would be skipped. Averaging takes four times
    # as long and, from a half on, did not raise accuracy.
    rows, columns = values.shape[:2]
    few_rows = height if rows > 3 * height else rows
    few_columns = width if columns > 3 * width else columns
    if (few_rows, few_columns) != (rows, columns):
        values = cv2.resize(values, (few_columns, few_rows), interpolation=cv2.INTER_AREA)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
