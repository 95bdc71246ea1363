"""JSON files that say their version, read as a dataclass and never as something near it."""

from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

_T = TypeVar("_T")


class OtherVersionError(ValueError):
    """The file has another version."""


def decode_versioned(content: bytes, kind: type[_T], version: int) -> _T:
    """Return the dataclass that a file holds.

    Raises:
        OtherVersionError: Names the version that the file has.
        ValueError: When the content does not have this form.
        RecursionError: When it is nested without end.
    """
    values = msgspec.json.decode(content, type=dict[str, Any])
    if "version" not in values:
        raise ValueError("it has no version")
    if values["version"] != version:
        raise OtherVersionError(str(values["version"]))
    _refuse_unknown_keys(values, kind)
    return msgspec.convert(values, kind)


def _refuse_unknown_keys(values: dict[str, Any], kind: Any) -> None:
    # A damaged key that is passed over leaves a default: "training" a labelling job.
    hints = get_type_hints(kind)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise ValueError(f"there is no key {min(unknown)!r}")
    for name, hint in hints.items():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(values.get(name), dict):
                _refuse_unknown_keys(values[name], part)
