"""What Python runs in every process of poets that a test starts: faults from within.

Each trap is a piece of ``sitecustomize.py``; `HERE` is the folder that it lies in.
"""

import os
import time
from pathlib import Path

from tests.builders.paths import ROOT
from tests.builders.programs import wait_until

_START = """
import importlib.abc, importlib.machinery, os, sys, time

HERE = os.path.dirname(__file__)
changes = {}

class Changing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            changes[name](module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Changing())

def after_import(name, change):
    changes[name] = change

def note(name, text=""):
    descriptor = os.open(os.path.join(HERE, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (text + "\\n").encode("utf-8", "surrogateescape"))
    os.close(descriptor)
"""

# Whoever opens a file that is there and ends so waits until the test lets go.
HOLD = """
def hold(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = os.fsdecode(arguments[0])
        is_waited_for = name.endswith({ending!r}) and os.path.exists(name)
        if is_waited_for and not os.path.exists(os.path.join(HERE, "go")):
            note("held", str(os.getpid()))
            while not os.path.exists(os.path.join(HERE, "go")):
                time.sleep(0.02)

sys.addaudithook(hold)
"""
HOLD_WORKER, HOLD_TRAINER = HOLD.format(ending=".jpg"), HOLD.format(ending=".arrow")
# Sets names of a module when it is imported, such as how long something is waited for.
SET = """
after_import({module!r}, lambda module: vars(module).update({values!r}))
"""
# Attempts that the storage refused follow each other after 0.3, 0.6 and 1.2 s.
IMPATIENT = SET.format(module="orchestrator.driving.reconcile", values={"_TROUBLE_WAIT_S": 0.3})
# Every file that Python opens below some folders is written down.
RECORD = """
def record(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = os.fsdecode(arguments[0])
        if name.startswith({folders!r}):
            note("opened", name)

sys.addaudithook(record)
"""
# The image is poison to whoever opens it.
POISON = """
import signal

def poison(event, arguments):
    name = os.fsdecode(arguments[0]) if event == "open" and type(arguments[0]) is str else ""
    if name.endswith("kills.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("hangs.jpg"):
        time.sleep(3600)

sys.addaudithook(poison)
"""
# The pictures of these files want all the memory that there is; without a limit, the
# kernel ends whoever has taken 8 GiB. (Nothing is written, so no memory is really taken.)
HUNGRY = """
import signal

def make_hungry(module):
    decode_picture = module.decode_picture
    def decode(content, input_size):
        if content.endswith(b"starves"):
            import numpy
            hoard = [numpy.empty(1 << 30, numpy.uint8) for _ in range(8)]
            os.kill(os.getpid(), signal.SIGKILL)
        return decode_picture(content, input_size)
    module.decode_picture = decode

after_import("workers.images.decoding", make_hungry)
"""
# What hangs is found out after three seconds, not after a minute.
QUICK_VERDICTS = """
def make_quick(module):
    module.compute_isolated.__defaults__ = (3.0,)

after_import("workers.bottlenecks.isolated", make_quick)
""" + SET.format(module="workers.leases", values={"STALL_S": 3.0})
# Every clock that tells the time of day is wrong by so many seconds; those that only
# measure (monotonic) go on as they are.
SHIFT_CLOCK = """
import datetime

def shifted(function, scale=1):
    return lambda: function() + {seconds} * scale

time.time, time.time_ns = shifted(time.time), shifted(time.time_ns, 10**9)
Real = datetime.datetime

class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Real)

class Shifted(Real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return Real.now(tz) + datetime.timedelta(seconds={seconds})

    @classmethod
    def utcnow(cls):
        return Real.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(
            seconds={seconds}
        )

datetime.datetime = Shifted
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


def opened(folder: Path) -> set[str]:
    """Return the paths that the trap RECORD has seen."""
    return set((folder / "opened").read_text(errors="surrogateescape").splitlines())
