"""The numbers of an odd TIFF as a picture: which of them are black, white and transparent."""

import numpy as np

from workers.images.odd_tiff import COLOURS, Samples
from workers.images.resizing import ORIENTATIONS, Picture
from workers.images.tiff import GreyKind, read_nodata
from workers.images.wide_grey import find_missing, range_of, shade_grey

_INKS = 5


def picture_of(samples: Samples) -> Picture:
    """Return the picture that a viewer shows.

    Floating-point colours within 0 to 1 are shown as they are, all others are stretched.
    """
    values = samples.values
    kind = GreyKind(
        samples.bits,
        is_signed=values.dtype.kind == "i",
        is_float=values.dtype.kind == "f",
        is_inverted=samples.photometric == 0,
        nodata=read_nodata(samples.nodata.decode("latin-1")),
    )
    orientation = samples.orientation if samples.orientation in ORIENTATIONS else 1
    channels = COLOURS[samples.photometric]
    # What has no place among numbers of 32 bits holds nothing.
    with np.errstate(over="ignore"):
        colours = values[..., :channels].astype(np.float32)
    if channels == 1 and not samples.has_opacity:
        return shade_grey(colours[..., 0], kind, kind.nodata, orientation)
    missing = find_missing(colours, kind.nodata, kind)
    low, high, is_faint = range_of(colours, ~missing, kind)
    if kind.is_float and low >= 0 and high <= 1:
        low, high = 0, 1
    shown = np.clip((colours - low) / (high - low), 0, 1)
    shown = np.where(missing, 1, 1 - shown if kind.is_inverted else shown)
    if samples.photometric == _INKS:
        shown = (1 - shown[..., :3]) * (1 - shown[..., 3:])
    shown = np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown
    if samples.has_opacity:
        whole = 1 if kind.is_float else np.iinfo(values.dtype).max
        if not kind.is_float and not kind.is_signed:
            whole = (1 << samples.bits) - 1
        opacity = np.clip(values[..., channels : channels + 1] / np.float32(whole), 0, 1)
        shown = np.minimum(shown, opacity) if samples.is_multiplied else shown * opacity
        shown = np.concatenate([shown, opacity], axis=2)
    eight = np.rint(shown * 255).astype(np.uint8)
    return Picture(eight, orientation, is_faint=is_faint)
