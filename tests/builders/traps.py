"""Traps: what Python does at the start of every process that a test starts.

A trap is a piece of ``sitecustomize.py``. `lay` writes the pieces to one folder, which the
pieces know as `HERE`, and returns the environment of the programs that fall into them.
"""

import os
import time
from pathlib import Path

from tests.builders.paths import ROOT
from tests.builders.programs import wait_until

_START = """
import functools, importlib.abc, importlib.machinery, os, signal, sys, time

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
            for change in changes[name]:
                change(module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Changing())

def after_import(name, change):
    # Before anybody can import a function from there.
    changes.setdefault(name, []).append(change)

def on_open(act):
    def listen(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            act(os.fsdecode(arguments[0]))
    sys.addaudithook(listen)

def write_note(name, text=""):
    descriptor = os.open(os.path.join(HERE, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (text + "\\n").encode("utf-8", "surrogateescape"))
    os.close(descriptor)
"""


def lay(folder: Path, *traps: str) -> dict[str, str]:
    """Return the environment in which the traps are laid; `folder` is made."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_START + "".join(traps))
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


# Opening an image does what real files do to real decoders: the end of its name says what. A
# planner that only hashes it decodes nothing.
# An image that acts once leaves the process id in NAME.pid; one that hangs, a byte in NAME.hangs.
DEADLY_IMAGES = """
def opens_first(name):
    if os.path.exists(name + ".pid"):
        return False
    with open(name + ".pid", "w") as file:
        file.write(str(os.getpid()))
    return True

def is_hashed():
    frame = sys._getframe()
    while frame and not frame.f_code.co_filename.endswith("hashed_files.py"):
        frame = frame.f_back
    return frame is not None

def act_on_image(name):
    if not name.endswith(".jpg") or is_hashed(): return
    if name.endswith("aborts.jpg"): os.abort()
    if name.endswith("kills.jpg"): os.kill(os.getpid(), signal.SIGKILL)
    if name.endswith("exits.jpg"): os._exit(7)
    if name.endswith("hangs.jpg"):
        with open(name + ".hangs", "a") as file:
            file.write("!")
        time.sleep(3600)
    if name.endswith("aborts_once.jpg") and opens_first(name): os.abort()
    if name.endswith("hangs_once.jpg") and opens_first(name): time.sleep(3600)

on_open(act_on_image)
"""


class Impatience:
    """A clock by which an hour goes by while an image hangs in a folder, and else no time.

    It takes the hour at its next look, so that whoever begins to wait while the image hangs
    already waits for an hour too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._hangs, self._now = folder, 0, 0.0

    def monotonic(self) -> float:
        now = self._now
        if sum(path.stat().st_size for path in self._folder.rglob("*.hangs")) > self._hangs:
            self._hangs += 1
            self._now += 3600
        return now


# A process that opens a file that exists and has this ending waits until the test lets go.
_HOLD = """
def hold(name):
    is_waited_for = name.endswith({ending!r}) and os.path.exists(name)
    if is_waited_for and not os.path.exists(os.path.join(HERE, "go")):
        write_note("held", str(os.getpid()))
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.02)

on_open(hold)
"""
HOLD_WORKER, HOLD_TRAINER = _HOLD.format(ending=".jpg"), _HOLD.format(ending=".arrow")


def wait_for_held(folder: Path) -> int:
    """Return the id of a process that waits in the trap HOLD."""
    marker = folder / "held"
    return int(wait_until(lambda: marker.exists() and marker.read_text().split())[0])


def let_go(folder: Path) -> None:
    """End the trap HOLD."""
    (folder / "go").touch()
    time.sleep(0.1)


# Every file that Python opens below some folders is written down.
RECORD = """
def record(name):
    if name.startswith({folders!r}):
        write_note("opened", name)

on_open(record)
"""


def opened(folder: Path) -> set[str]:
    """Return the paths that the trap RECORD has seen."""
    return set((folder / "opened").read_text(errors="surrogateescape").splitlines())


# Sets names of a module when it is imported, such as how long something is waited for.
SET = """
def set_values(module, values={values!r}):
    for name, value in values.items():
        assert hasattr(module, name), f"{{module}} has no {{name}}"
        setattr(module, name, value)

after_import({module!r}, set_values)
"""
# Attempts that the storage refused follow each other after 0.3, 0.6 and 1.2 s.
IMPATIENT = SET.format(module="orchestrator.driving.reconcile", values={"_RETRY_WAIT_S": 0.3})
# What hangs is found out after three seconds, not after a minute.
QUICK_VERDICTS = """
def make_quick(module):
    module.compute_isolated.__defaults__ = (3.0,)

after_import("workers.bottlenecks.isolated", make_quick)
""" + SET.format(module="workers.leases", values={"STALL_S": 3.0})
# The pictures of these files want all the memory that there is; without a limit, the kernel
# ends a process that has taken 8 GiB. (Nothing is written, so no memory is really taken.)
HUNGRY = """
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
# Every clock that tells the time of day is wrong by some seconds; those that only measure
# (monotonic) are right.
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

KILL = "os.kill(os.getpid(), signal.SIGKILL)"
STOP = "os.kill(os.getpid(), signal.SIGSTOP)"
KILL_THE_WORKER = f"os.kill(os.getppid(), signal.SIGKILL); {KILL}"
CALL_AGAIN = "real(*arguments, **named)"
_AT_FUNCTION = """
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

after_import({module!r}, lay)
"""


def lay_trap(
    marker: Path,
    function: str,
    act: str,
    when: str = "before",
    only_if: str = "True",
    once: bool = True,
) -> dict[str, str]:
    """Return the environment of a program that finds a trap at a function.

    Args:
        marker: Comes to exist, with the process id in it, when the trap has closed.
        function: ``module:function`` or ``module:Class.method``.
        act: A statement, such as KILL; it sees the function `real` and its `arguments`.
        when: "before" or "after" the function does its work.
        only_if: An expression over the same names.
        once: Whether one process falls into it, one time.
    """
    module, name = function.split(":")
    facts = {"module": module, "function": name, "act": act, "when": when, "only_if": only_if}
    trap = _AT_FUNCTION.format(**facts, once=once, marker=str(marker))
    return lay(marker.with_name(marker.name + ".trap"), trap)


class TrappedPickle:
    """Creates a file when its pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._path), "w")
