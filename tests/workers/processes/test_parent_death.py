"""Programs of poets end when the process that started them is killed."""

import json
import os
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest

from tests.builders.backbones import BACKBONE
from tests.builders.paths import ROOT
from tests.builders.pictures import make_picture
from tests.builders.programs import kill, wait_until
from tests.builders.traps import DEADLY_IMAGES, lay

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do this")

START = """
import json, sys
from pathlib import Path
from dataclasses import astuple
from workers.backbones.table import BackboneKey
from workers.storage.layout import Storage

storage = Storage(Path(sys.argv[1]))
key = BackboneKey(*json.loads(sys.argv[2]))
"""
CONVERT = """
from workers.backbones.convert import convert_backbone
convert_backbone(storage, key, lambda: None)
"""
ISOLATE = """
from workers.bottlenecks.requests import Request
from workers.bottlenecks.isolated import compute_isolated
list(compute_isolated(storage, key, [Request(sys.argv[3])], lambda: None))
"""


def start(program, storage, *arguments, **environment):
    identity = json.dumps(astuple(BACKBONE))
    return subprocess.Popen(
        [sys.executable, "-c", START + program, str(storage.root), identity, *map(str, arguments)],
        env={**os.environ, **environment},
        cwd=ROOT,
    )


def child_of(process, program):
    """Return the process id of the child that runs a module, or None."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in map(int, children):
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if program.encode() in command:
            return child
    return None


def has_ended(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    # Nobody may be there to take note of the end of an orphan.
    return stat.rsplit(")", 1)[1].split()[0] in "ZX"


@pytest.mark.tensorflow
def test_the_conversion_ends_with_who_asked_for_it(storage):
    parent = start(CONVERT, storage)
    child = wait_until(lambda: child_of(parent, "workers.backbones.convert"))
    wait_until(lambda: b"tensorflow" in Path(f"/proc/{child}/maps").read_bytes())

    kill(parent.pid)
    parent.wait()

    wait_until(lambda: has_ended(child))


def test_the_process_for_single_images_ends_with_who_asked_for_it(ready_storage, tmp_path):
    picture = make_picture(tmp_path / "hangs_once.jpg", (9, 99, 200))
    parent = start(ISOLATE, ready_storage, picture, **lay(tmp_path / "traps", DEADLY_IMAGES))
    marker = picture.with_name(picture.name + ".pid")
    child = int(wait_until(lambda: marker.exists() and marker.read_text()))

    kill(parent.pid)
    parent.wait()

    wait_until(lambda: has_ended(child))


def test_a_process_whose_parent_has_gone_already_ends_at_once():
    program = (
        "from workers.processes.parent_death import end_with_parent\n"
        "end_with_parent(parent=1 << 30)"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 1
