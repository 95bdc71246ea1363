"""Transparency of PNG files, where Pillow takes it for something else."""

import struct

from PIL import Image

_START = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR, _PALETTE = 0, 2, 3
_LENGTHS = {_GREY: 2, _COLOUR: 6}


def drop_false_transparency(content: bytes) -> bytes:
    """Return a PNG without a chunk tRNS that means nothing; libpng ignores it too."""
    if not content.startswith(_START) or len(content) < 33:
        return content
    kind, entries, at = content[25], 0, len(_START)
    while at + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        if name == b"PLTE":
            entries = length // 3
        elif name == b"tRNS":
            expected = _LENGTHS.get(kind, 0)
            is_good = length <= entries if kind == _PALETTE else length == expected
            return content if is_good else content[:at] + content[at + 12 + length :]
        elif name == b"IDAT":
            break
        at += 12 + length
    return content


def mend_transparency(content: bytes, image: Image.Image) -> None:
    """Make the transparent value of an open PNG one of the values that Pillow reads."""
    bits, kind = content[24], content[25]
    transparent = image.info.get("transparency")
    if kind == _GREY and bits < 16 and isinstance(transparent, int):
        # Only the lowest bits count. Pillow spreads samples of 2 and 4 bits over 8, but not this.
        spread = {2: 85, 4: 17}.get(bits, 1)
        image.info["transparency"] = (transparent & (2**bits - 1)) * spread
    if kind == _COLOUR and isinstance(transparent, tuple):
        # Of 16 bits it keeps the upper half of each sample.
        image.info["transparency"] = tuple(
            value >> 8 if bits == 16 else value & 255 for value in transparent
        )
