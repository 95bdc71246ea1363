"""The tags of a TIFF or BigTIFF in any order of bytes, and the same content under other tags."""

import struct
from typing import NamedTuple

# Letters of `struct` by type; text and bytes without a meaning are bytes.
_LETTERS = {1: "B", 2: "s", 3: "H", 4: "I", 6: "b", 7: "s", 8: "h", 9: "i", 11: "f", 12: "d",
            13: "I", 16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_LONG = 4
_WIDE = frozenset({13, 16, 18})
_MOST_TAGS = 4096
BIG_ENDIAN_BIG_TIFF = b"MM\0+"


_WIDTH, _HEIGHT, _ROWS_A_STRIP = 256, 257, 278
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_TILE_WIDTH, _TILE_HEIGHT, _PLANES, _SAMPLES = 322, 323, 284, 277


class Tag(NamedTuple):
    """One tag: its type in the file, and its numbers, or its bytes as the only value."""

    kind: int
    values: tuple[int | float | bytes, ...]


class Directory(NamedTuple):
    """The first directory of a TIFF; `order` is that of its bytes, as `struct` writes it."""

    order: str
    tags: dict[int, Tag]

    @property
    def is_complete(self) -> bool:
        """Whether it says how large the picture is, and where its data is."""
        has_size = self.number(_WIDTH, 0) > 0 < self.number(_HEIGHT, 0)
        return has_size and (_STRIPS in self.tags or _TILES in self.tags)

    @property
    def missing(self) -> tuple[int, int]:
        """How many strips or tiles have no data, and how many there should be."""
        width, height = self.number(_WIDTH, 0), self.number(_HEIGHT, 0)
        if _TILES in self.tags:
            starts, lengths = self.numbers(_TILES), self.numbers(_TILE_BYTES)
            across = -(-width // max(1, self.number(_TILE_WIDTH, width)))
            needed = across * -(-height // max(1, self.number(_TILE_HEIGHT, height)))
        else:
            starts, lengths = self.numbers(_STRIPS), self.numbers(_STRIP_BYTES)
            needed = -(-height // max(1, self.number(_ROWS_A_STRIP, height)))
        if self.number(_PLANES, 1) == 2:
            needed *= self.number(_SAMPLES, 1)
        there = sum(start > 0 for start in starts[:needed])
        if lengths:
            pairs = zip(starts[:needed], lengths, strict=False)
            there = sum(start > 0 < length for start, length in pairs)
        return needed - there, needed

    def numbers(self, tag: int, *default: int) -> tuple[int, ...]:
        """Return the integers of a tag."""
        found = self.tags.get(tag)
        values = found.values if found else default
        return tuple(value for value in values if isinstance(value, int)) or default

    def number(self, tag: int, default: int) -> int:
        """Return the first integer of a tag."""
        return self.numbers(tag, default)[0]


def read_directory(content: bytes) -> Directory | None:
    """Return the tags of a TIFF, or None when they cannot be read."""
    try:
        return _read(content)
    except (struct.error, KeyError, OverflowError):
        return None


def _read(content: bytes) -> Directory:
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    is_big = {42: False, 43: True}[struct.unpack_from(f"{order}H", content, 2)[0]]
    word, number, place, room = ("Q", "Q", 8, 8) if is_big else ("I", "H", 4, 4)
    (at,) = struct.unpack_from(order + word, content, place)
    (count,) = struct.unpack_from(order + number, content, at)
    first, size = at + struct.calcsize("=" + number), 4 + 2 * room
    tags: dict[int, Tag] = {}
    for entry in range(first, first + size * min(count, _MOST_TAGS), size):
        tag, kind, length = struct.unpack_from(f"{order}HH{word}", content, entry)
        if kind not in _LETTERS or not 0 < length <= len(content):
            continue
        layout = f"{order}{length}{_LETTERS[kind]}"
        place = entry + 4 + room
        if struct.calcsize(layout) > room:
            (place,) = struct.unpack_from(order + word, content, place)
        # A tag whose values are not there is none, for libtiff and Pillow too.
        if place + struct.calcsize(layout) <= len(content):
            tags[tag] = Tag(kind, struct.unpack_from(layout, content, place))
    return Directory(order, tags)


def write_directory(content: bytes, directory: Directory) -> bytes:
    """Return the content as a TIFF that is no BigTIFF, with these tags.

    Whatever the tags point to stays where it is.

    Raises:
        struct.error: When a number does not fit into 32 bits.
    """
    order, tags = directory
    at = len(content) + len(content) % 2
    behind = at + 2 + 12 * len(tags) + 4
    rows, rest = struct.pack(f"{order}H", len(tags)), b""
    for name, (found, values) in sorted(tags.items()):
        kind = _LONG if found in _WIDE else found
        letter = _LETTERS[kind]
        length = len(values[0]) if isinstance(values[0], bytes) else len(values)
        packed = struct.pack(f"{order}{length}{letter}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", behind + len(rest))
            packed, rest = place, rest + packed + b"\0" * (len(packed) % 2)
        rows += struct.pack(f"{order}HHI", name, kind, length) + packed.ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    return b"".join([start, content[8:].ljust(at - 8, b"\0"), rows, bytes(4), rest])


def as_small_tiff(content: bytes) -> bytes:
    """Return a big-endian BigTIFF, which Pillow reads wrongly, as a TIFF; else the same."""
    if not content.startswith(BIG_ENDIAN_BIG_TIFF):
        return content
    directory = read_directory(content)
    try:
        return write_directory(content, directory) if directory else content
    except struct.error:
        return content
