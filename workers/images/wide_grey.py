"""Grey pictures with more than 8 bits: which of their numbers are black and white."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from workers.images.resizing import Picture
from workers.images.tiff import GreyKind, kind_of

_SAMPLE = 1_000_000
# A value this many times the usual range away from it is no shade of the picture.
_OUTLYING = 3
# What programs write where they have nothing; only when it lies apart from the rest.
_NOTHING = (-9999.0, -99999.0, -999999.0, -32768.0)
_HUGE = 1e30
# 12 bits in 16 use less than a sixteenth of the range.
_FAINT = 16


def is_wide_grey(image: Image.Image) -> bool:
    """Whether a picture is grey, of numbers that do not say by themselves what is white."""
    if isinstance(image, TiffImageFile) and image.mode == "L":
        return kind_of(image).is_signed
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def read_wide_grey(image: Image.Image, orientation: int) -> Picture:
    """Return a loaded grey picture, with its shades.

    Pillow's own conversion clips at 255 and turns such a picture white.
    """
    kind = kind_of(image) if isinstance(image, TiffImageFile) else GreyKind(16)
    values = _numbers(image, kind).astype(np.float32)
    transparent = image.info.get("transparency")
    nothing = transparent if isinstance(transparent, int) else kind.nodata
    return shade_grey(values, kind, nothing, orientation)


def shade_grey(
    values: NDArray[np.float32], kind: GreyKind, nothing: float | None, orientation: int
) -> Picture:
    """Return a picture of numbers, shape (height, width), which are changed.

    Args:
        nothing: The value of pixels that hold nothing.
    """
    missing = find_missing(values, nothing, kind)
    low, high, is_faint = range_of(values, ~missing, kind)
    if kind.is_inverted:
        low, high = high, low
    np.clip(values, min(low, high), max(low, high), out=values)
    # As transparency is laid on white.
    values[missing] = high
    return Picture(values, orientation, (low, high), is_faint=is_faint)


def _numbers(image: Image.Image, kind: GreyKind) -> NDArray[Any]:
    numbers: NDArray[Any] = np.asarray(image)
    if image.mode == "L":
        return numbers.view(np.int8)
    # Pillow has only signed ones of 32 bits.
    is_unsigned = image.mode == "I" and kind.bits == 32 and not kind.is_signed
    return numbers.view(np.uint32) if is_unsigned else numbers


def find_missing(
    values: NDArray[np.float32], nothing: float | None, kind: GreyKind
) -> NDArray[np.bool_]:
    """Return where a picture holds nothing."""
    if nothing is None and not (kind.is_float or kind.is_signed):
        return np.zeros((), np.bool_)
    missing: NDArray[np.bool_] = ~((values > -_HUGE) & (values < _HUGE))
    if nothing is not None:
        missing |= values == np.float32(nothing)
    if kind.is_float or kind.is_signed:
        lowest = _lowest(values, ~missing)
        if lowest in _NOTHING:
            found = missing | (values == lowest)
            rest = _lowest(values, ~found), _highest(values, ~found)
            if rest[0] - lowest > rest[1] - rest[0]:
                missing = found
    return missing


def range_of(
    values: NDArray[np.float32], is_there: NDArray[np.bool_], kind: GreyKind
) -> tuple[float, float, bool]:
    """Return the values that are black and white, and whether all are near the first."""
    lowest, highest = _lowest(values, is_there), _highest(values, is_there)
    if not np.isfinite(lowest):
        return 0, 1, False
    white = _white(kind, highest)
    if white is not None:
        return 0, white, kind.bits > 8 and highest * _FAINT < white
    low, high = _usual(values, is_there)
    return low, high if high > low else low + 1, False


def _white(kind: GreyKind, highest: float) -> int | None:
    """Return the value that the format says is white, None where it says nothing."""
    if kind.is_float or kind.is_signed:
        return None
    if kind.largest is not None and highest <= kind.largest < (1 << kind.bits) - 1:
        return kind.largest
    if kind.bits < 32:
        return (1 << kind.bits) - 1
    # Nobody fills 32 bits with shades; those of fewer are kept as they are.
    return next((white for white in (255, 65535) if highest <= white), None)


def _usual(values: NDArray[np.float32], is_there: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lowest and highest value but for outliers."""
    step = max(1, values.size // _SAMPLE)
    chosen = np.broadcast_to(is_there, values.shape).ravel()[::step]
    sample = values.ravel()[::step][chosen]
    lowest, highest = _lowest(values, is_there), _highest(values, is_there)
    if not sample.size:
        return lowest, highest
    first, last = np.percentile(sample.astype(np.float64), (1, 99))
    if first == last:
        return lowest, highest
    margin = _OUTLYING * (last - first)
    is_usual = is_there & (values >= first - margin) & (values <= last + margin)
    return _lowest(values, is_usual), _highest(values, is_usual)


def _lowest(values: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    return float(np.min(values, where=where, initial=np.inf))


def _highest(values: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    return float(np.max(values, where=where, initial=-np.inf))
