"""Colour profiles: poets ignores them, and a person should know where that changes colours."""

import struct

_TAG_COUNT, _TAGS, _TAG = 128, 132, 12
_MOST_TAGS = 100
_MOST_LETTERS = 80
# Colour spaces whose numbers a profile gives a meaning that shows.
_COLOURS = (b"RGB ", b"CMYK", b"Lab ")
# What the small profiles call sRGB that some programs embed to save bytes.
_SRGB = {"c2", "c2ci", "urgb", "iec61966-2.1", "iec61966-2-1"}


def foreign_profile(profile: object) -> str | None:
    """Return the name of an ICC profile for colours other than sRGB, None for any other."""
    if not isinstance(profile, bytes) or profile[16:20] not in _COLOURS:
        return None
    name = _name(profile)
    is_srgb = "srgb" in name.lower().replace(" ", "") or name.lower() in _SRGB
    return None if is_srgb and profile[16:20] == b"RGB " else name


def _name(profile: bytes) -> str:
    """Return the description in a profile."""
    count = int.from_bytes(profile[_TAG_COUNT:_TAGS], "big")
    for at in range(_TAGS, _TAGS + _TAG * min(count, _MOST_TAGS), _TAG):
        if profile[at : at + 4] == b"desc":
            start, size = struct.unpack(">II", profile[at + 4 : at + _TAG].ljust(8, b"\0"))
            return _clean(_description(profile[start : start + size])) or "without a name"
    return "without a name"


def _description(tag: bytes) -> str:
    if tag[:4] == b"mluc":
        size, start = struct.unpack(">II", tag[20:28].ljust(8, b"\0"))
        return tag[start : start + size].decode("utf-16-be", "replace")
    size = int.from_bytes(tag[8:12], "big")
    return tag[12 : 12 + size].decode("latin-1")


def _clean(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).strip()[:_MOST_LETTERS]
