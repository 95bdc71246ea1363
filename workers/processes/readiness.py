"""How a part of the embedded stack tells its supervisor that it has begun its work.

A part that ends before that would do so again, however often it is started.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "POETS_READY_FILE"


def announce_to(path: Path) -> Mapping[str, str]:
    """Return the environment of a process that is to make the file `path` once it is ready."""
    return {_VARIABLE: str(path)}


def announce_ready() -> None:
    """Say that this process has begun its work, if somebody waits for that."""
    if path := os.environ.get(_VARIABLE):
        Path(path).touch()
