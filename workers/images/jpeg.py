"""JPEGs by libjpeg-turbo, at a fraction of their size where it can do that safely."""

import re
import struct
from typing import NamedTuple

import simplejpeg

from workers.images.resizing import Pixels

# What follows a marker as libjpeg looks for one: it skips whatever else stands between segments.
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEGMENTS = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_WITHOUT_BODY = frozenset({0x01, *range(0xD0, 0xD8)})
# Baseline, extended and progressive, with Huffman or arithmetic coding. The others have no
# cosine transform to shrink: libjpeg-turbo decodes a lossless one in full, whatever it is
# asked for, into memory of the size asked for.
_SCALABLE = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})


class Frame(NamedTuple):
    """The header of a JPEG's frame.

    Attributes:
        marker: The second byte of its marker, 0xC0 to 0xCF.
        bits: Of a sample.
        components: 1 for grey, 3 for colour, 4 for printers' inks.
    """

    marker: int
    bits: int
    height: int
    width: int
    components: int

    @property
    def is_scalable(self) -> bool:
        """Whether libjpeg-turbo can decode it at 1/2, 1/4 and 1/8."""
        return self.marker in _SCALABLE and self.bits == 8


def read_frame(content: bytes) -> Frame | None:
    """Return the header that libjpeg uses, or None when it would find none or refuse it."""
    end = 2 if content.startswith(b"\xff\xd8") else len(content)
    while found := _MARKER.search(content, end):
        marker, end = found[1][0], found.end()
        if marker in _FRAMES:
            header = content[end + 2 : end + 8]
            return Frame(marker, *struct.unpack(">BHHB", header)) if len(header) == 6 else None
        if marker in _SEGMENTS:
            end += max(2, int.from_bytes(content[end : end + 2], "big"))
        elif marker not in _WITHOUT_BODY:
            return None
    return None


def decode_jpeg(content: bytes, frame: Frame, least: int) -> Pixels:
    """Return RGB or grey pixels, at 1/2, 1/4 or 1/8 where both sides stay at least `least`.

    Args:
        frame: Of this content, scalable, of one or three components.

    Raises:
        ValueError: When anything is wrong with the content.
    """
    # Five times as fast on 12-megapixel photographs. Other eighths are slower than the
    # whole: they have no SIMD.
    factor = scale_of(frame, least)
    colours = "RGB" if frame.components == 3 else "GRAY"
    height, width = -(-frame.height // factor), -(-frame.width // factor)
    values: Pixels = simplejpeg.decode_jpeg(content, colours, min_height=height, min_width=width)
    return values if colours == "RGB" else values[..., 0]


def scale_of(frame: Frame, least: int) -> int:
    """Return by what a JPEG can be divided, so that both sides stay at least `least`."""
    shortest = min(frame.height, frame.width) if frame.is_scalable else 0
    return next(factor for factor in (8, 4, 2, 1) if shortest >= factor * least or factor == 1)
