"""Traps for one program: at a chosen function it is killed, stopped, delayed or doubled."""

import os
from pathlib import Path

from tests.builders.paths import ROOT

KILL = "os.kill(os.getpid(), signal.SIGKILL)"
STOP = "os.kill(os.getpid(), signal.SIGSTOP)"
KILL_THE_WORKER = f"os.kill(os.getppid(), signal.SIGKILL); {KILL}"
CALL_AGAIN = "real(*arguments, **named)"

# Python imports a module of this name when it starts. It wraps the function as soon as the
# module that defines it has been run, before anybody can import the function from there.
_TRAP = """
import functools, importlib.util, os, signal, sys, time

def is_first():
    if not {once!r}:
        return True
    own = "{marker}." + str(os.getpid())
    with open(own, "w") as file:
        file.write(str(os.getpid()))
    try:
        os.link(own, {marker!r})
    except FileExistsError:
        return False
    return True

def lay(module):
    *owners, name = {function!r}.split(".")
    owner = functools.reduce(getattr, owners, module)
    real = getattr(owner, name)

    @functools.wraps(real)
    def trapped(*arguments, **named):
        if {when!r} == "after":
            result = real(*arguments, **named)
        if ({only_if}) and is_first():
            {act}
        return result if {when!r} == "after" else real(*arguments, **named)

    setattr(owner, name, trapped)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), lay(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


def lay_trap(
    marker: Path,
    place: str,
    act: str,
    when: str = "before",
    only_if: str = "True",
    once: bool = True,
) -> dict[str, str]:
    """Return the environment of a program that finds a trap at `place`.

    Args:
        marker: Comes to exist, with the process id in it, when the trap has closed.
        place: ``module:function`` or ``module:Class.method``.
        act: A statement, such as KILL; it sees the function `real` and its `arguments`.
        when: "before" or "after" the function does its work.
        only_if: An expression over the same names.
        once: Whether one process falls into it, one time.
    """
    module, function = place.split(":")
    folder = marker.with_name(marker.name + ".trap")
    folder.mkdir()
    facts = {"module": module, "function": function, "act": act, "when": when}
    code = _TRAP.format(**facts, only_if=only_if, once=once, marker=str(marker))
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
