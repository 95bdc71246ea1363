"""What Python runs in every process of poets that a test starts: faults from within.

Each trap is a piece of ``sitecustomize.py``; `HERE` is the folder that it lies in.
"""

import os
import time
from pathlib import Path

from tests.programs import ROOT, wait_until

_START = """
import os, sys, time

HERE = os.path.dirname(__file__)

def note(name, text=""):
    descriptor = os.open(os.path.join(HERE, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (text + "\\n").encode("utf-8", "surrogateescape"))
    os.close(descriptor)
"""

# Whoever opens the image waits until the test lets go.
HOLD = """
def hold(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = os.fsdecode(arguments[0])
        if name.endswith({image!r}) and not os.path.exists(os.path.join(HERE, "go")):
            note("held", str(os.getpid()))
            while not os.path.exists(os.path.join(HERE, "go")):
                time.sleep(0.02)

sys.addaudithook(hold)
"""


def lay(folder: Path, *traps: str) -> dict[str, str]:
    """Return the environment in which the traps are laid."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_START + "".join(traps))
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def wait_for_held(folder: Path) -> int:
    """Return the id of a process that waits in the trap HOLD."""
    marker = folder / "held"
    return int(wait_until(lambda: marker.exists() and marker.read_text().split())[0])


def let_go(folder: Path) -> None:
    """End the trap HOLD."""
    (folder / "go").touch()
    time.sleep(0.1)
