"""Traps."""

import os
from pathlib import Path

from tests.builders.paths import ROOT

# Python imports a module of this name when it starts; this one sees every file that is opened.
POISON = """
import os, signal, sys, time

def act(event, arguments):
    name = os.path.basename(os.fsdecode(arguments[0])) if event == "open" else ""
    if name == "abort.jpg": os.abort()
    if name == "kill.jpg": os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit.jpg": os._exit(7)
    if name == "hang.jpg": time.sleep(600)
    if name == "once.jpg" and not os.path.exists(arguments[0] + ".seen"):
        os.mkdir(arguments[0] + ".seen")
        os.abort()

def listen(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        act(event, (os.fsdecode(arguments[0]),))

sys.addaudithook(listen)
"""
# Runs inside every process that a test starts with this on PYTHONPATH: opening a file
# with one of these endings does what real files do to real decoders.
TRAPS = """
import os, signal, time

_open = os.open

def trapped(path, *rest, **more):
    name = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
    if name.endswith("kills.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("hangs_once.jpg") and not os.path.exists(name + ".pid"):
        with open(name + ".pid", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    return _open(path, *rest, **more)

os.open = trapped
"""


def lay_traps(folder: Path) -> dict[str, str]:
    """Return the environment in which the traps are laid."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(TRAPS)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


class TrappedPickle:
    """What writes a file when its pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")
