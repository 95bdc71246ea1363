"""File names as text that is always valid UTF-8 and can always be turned back."""

import os
import re

from workers.errors import SettingsError

_APART = re.compile(r"_nohash_.*$")
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")


def encode_name(name: str) -> str:
    r"""Return `name` with each undecodable byte as ``\xNN`` and each backslash doubled.

    All other names stay as they are, so manifests, shards and CSV files hold readable,
    valid UTF-8 and the exact bytes can be recovered.

    Args:
        name: A file name as Python gives it (surrogateescape for undecodable bytes).
    """
    # Most names: a scan of a million images asks twice for each.
    if name.isascii() and "\\" not in name:
        return name
    escaped = name.replace("\\", "\\\\")
    return re.sub(r"[\udc80-\udcff]", lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", escaped)


def decode_name(text: str) -> str:
    """Return the file name that `encode_name` was given."""

    def turn_back(match: re.Match[str]) -> str:
        return "\\" if match[1] == "\\" else os.fsdecode(bytes([int(match[1][1:], 16)]))

    return _ESCAPE.sub(turn_back, text)


def shared_name(name: str) -> str:
    """Return what the names of images that belong together share: all before ``_nohash_``."""
    return _APART.sub("", name)


def check_utf8(path: str) -> None:
    """Refuse a path that is not UTF-8. Only the names of images may be any bytes.

    Raises:
        SettingsError: With what to do.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(f"The path {path!r} is not UTF-8. Give one that is.") from error
