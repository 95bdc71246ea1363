"""PNG files as they are meant: transparency that Pillow mistakes, and chunks that it chokes on."""

import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

_START = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR, _PALETTE = 0, 2, 3
_LENGTHS = {_GREY: 2, _COLOUR: 6}


# Pillow's words for texts that would fill the memory: such a file is made to do harm.
_BOMB = re.compile("Decompressed data too large|Too much memory used in text")
# What the pixels depend on, and what says which way is up.
_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_UPRIGHT = frozenset({b"eXIf", b"iTXt"})


def drop_odd_chunks(content: bytes, error: Exception) -> bytes | None:
    """Return a PNG without what viewers ignore when it is odd, None where that is nothing.

    An animation becomes the picture that is shown where animations are not.

    Args:
        error: Why Pillow refuses the whole.
    """
    if not content.startswith(_START) or _BOMB.search(str(error)):
        return None
    kept = [
        whole
        for name, whole in _chunks(content)
        if name in _NEEDED or (name in _UPRIGHT and _is_intact(whole))
    ]
    rest = _START + b"".join(kept)
    return rest if len(rest) < len(content) else None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name of each chunk, and the whole of it; the last may be cut."""
    at = len(_START)
    while at + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        yield name, content[at : at + 12 + length]
        at += 12 + length


def _is_intact(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


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
