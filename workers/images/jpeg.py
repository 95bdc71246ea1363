"""JPEGs by libjpeg-turbo: safely at a fraction of their size, and what is wrong with them."""

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
END = b"\xff\xd9"
NO_END = "Premature end of JPEG file"
_SCAN = re.compile(rb"\xff\xda(..)(.)", re.DOTALL)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd([0-79])")
_DAMAGE = re.compile(
    r"premature end of data segment|bad Huffman code|bad arithmetic code|found marker 0x"
    r"|Inconsistent progression|Invalid SOS|SOS parameters"
)
# Bytes that the decoder may have taken in without needing them.
_READ_AHEAD = 8


class Frame(NamedTuple):
    """The header of a JPEG's frame.

    Attributes:
        marker: The second byte of its marker, 0xC0 to 0xCF.
        bits: Of a sample.
        components: 1 for grey, 3 for colour, 4 for printers' inks.
        has_junk: Something that is no segment stands before it.
    """

    marker: int
    bits: int
    height: int
    width: int
    components: int
    has_junk: bool = False

    @property
    def is_scalable(self) -> bool:
        """Whether libjpeg-turbo can decode it at 1/2, 1/4 and 1/8."""
        return self.marker in _SCALABLE and self.bits == 8

    @property
    def is_plain(self) -> bool:
        """Whether `decode_jpeg` takes it."""
        return self.is_scalable and self.components in (1, 3)


def read_frame(content: bytes) -> Frame | None:
    """Return the header that libjpeg uses, or None when it would find none or refuse it."""
    has_junk = False
    end = 2 if content.startswith(b"\xff\xd8") else len(content)
    while found := _MARKER.search(content, end):
        has_junk |= bool(content[end : found.start()].strip(b"\xff"))
        marker, end = found[1][0], found.end()
        if marker in _FRAMES:
            header = content[end + 2 : end + 8]
            if len(header) < 6:
                return None
            bits, height, width, components = struct.unpack(">BHHB", header)
            return Frame(marker, bits, height, width, components, has_junk)
        if marker in _SEGMENTS:
            end += max(2, int.from_bytes(content[end : end + 2], "big"))
        elif marker not in _WITHOUT_BODY:
            return None
    return None


def decode_jpeg(content: bytes, frame: Frame, least: int, is_strict: bool = True) -> Pixels:
    """Return RGB or grey pixels, at 1/2, 1/4 or 1/8 where both sides stay at least `least`.

    Args:
        frame: Of this content; a plain one.
        is_strict: Refuse what libjpeg-turbo warns about.

    Raises:
        ValueError: When it refuses the content; its text says why.
    """
    # Five times as fast on 12-megapixel photographs. Other eighths are slower than the
    # whole: they have no SIMD.
    factor = scale_of(frame, least)
    colours = "RGB" if frame.components == 3 else "GRAY"
    height, width = -(-frame.height // factor), -(-frame.width // factor)
    values: Pixels = simplejpeg.decode_jpeg(
        content, colours, min_height=height, min_width=width, strict=is_strict
    )
    return values if colours == "RGB" else values[..., 0]


def scale_of(frame: Frame, least: int) -> int:
    """Return by what a JPEG can be divided, so that both sides stay at least `least`."""
    shortest = min(frame.height, frame.width) if frame.is_scalable else 0
    return next(factor for factor in (8, 4, 2, 1) if shortest >= factor * least or factor == 1)


def is_whole_without_end(content: bytes, frame: Frame) -> bool:
    """Whether a JPEG without its end marker has all of its pixels."""
    if not frame.is_scalable or not _has_every_scan(content, frame):
        return False
    colours = {1: "GRAY", 3: "RGB", 4: "CMYK"}.get(frame.components)
    try:
        simplejpeg.decode_jpeg(content + END, colours, min_height=1, min_width=1)
    except ValueError:
        return False
    return colours is not None


def _has_every_scan(content: bytes, frame: Frame) -> bool:
    """Whether each coefficient of each component has all of its bits."""
    left: set[int] = set(range(64 * frame.components))
    seen: list[int] = []
    for found in _SCAN.finditer(content):
        count = found[2][0]
        scan = content[found.end() : found.end() + 2 * count + 3]
        if not 1 <= count <= 4 or len(scan) < 2 * count + 3 or found[1] != _length(count):
            continue
        first, last, bits = scan[2 * count], scan[2 * count + 1], scan[2 * count + 2] & 15
        for name in scan[: 2 * count : 2]:
            if name not in seen:
                seen.append(name)
            start = 64 * seen.index(name)
            if not bits:
                left.difference_update(range(start + first, start + min(last, 63) + 1))
    return not left


def _length(components: int) -> bytes:
    return (6 + 2 * components).to_bytes(2, "big")


def damage_of(warning: str, content: bytes, frame: Frame) -> str | None:
    """Return what libjpeg-turbo's warning says of the pixels, None where it says nothing."""
    reason = warning.removeprefix("Corrupt JPEG data: ")
    if _DAMAGE.search(reason):
        return reason
    if not (found := _LEFT_OVER.search(reason)):
        return None
    count, marker = int(found[1]), found[2]
    if marker != "9":
        return None if frame.has_junk else reason
    return None if _is_padding(content, count) else reason


def find_damage(content: bytes, frame: Frame) -> str | None:
    """Return what libjpeg-turbo would warn about in a JPEG of printers' inks; see `damage_of`."""
    try:
        simplejpeg.decode_jpeg(content, "CMYK", min_height=1, min_width=1)
    except ValueError as warning:
        return damage_of(str(warning), content, frame)
    return None


def _is_padding(content: bytes, count: int) -> bool:
    """Whether the bytes before the end marker are zeros that the decoder did not need.

    A picture whose tail is zeros has more of them: the decoder took the others for pixels.
    """
    data = content[: content.rfind(END)]
    return count <= len(data) - len(data.rstrip(b"\0")) <= count + _READ_AHEAD
