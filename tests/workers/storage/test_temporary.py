"""What killed processes leave is told from what is being written."""

import os
import re
import subprocess
import sys
import time

import pytest

from tests.builders.paths import ROOT
from workers.storage import temporary
from workers.storage.temporary import (
    ABANDONED_AFTER_S,
    file_clock,
    find_abandoned,
    find_scratch,
    remove_abandoned,
    replaced_beside,
    restore_replaced,
    scratch_prefix,
    temporary_beside,
    temporary_in,
)

_BESIDE_OF_ANOTHER = """
import sys
from pathlib import Path
from workers.storage.temporary import *
folder = Path(sys.argv[1])
(folder / (scratch_prefix() + "x")).touch()
(folder / temporary_in(folder).name).touch()
temporary_beside(folder / "labels.csv").touch()
replaced_beside(folder / "export").mkdir()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing one of each, until it is killed."""
    command = [sys.executable, "-c", _BESIDE_OF_ANOTHER, str(tmp_path)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def left(folder):
    return sorted(path.name for path in find_abandoned(folder, time.time()))


def test_what_a_living_process_writes_is_left_alone_however_old_it_is(tmp_path, writer):
    own = [temporary_in(tmp_path), temporary_beside(tmp_path / "labels.csv")]
    for path in (*tmp_path.iterdir(), *own):
        path.touch()
        age(path, 100 * ABANDONED_AFTER_S)

    assert left(tmp_path) == []
    assert list(find_scratch(tmp_path, time.time())) == []
    remove_abandoned(tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("is_waited_for", [False, True])
def test_what_a_killed_process_was_writing_is_found_at_once(tmp_path, writer, is_waited_for):
    writer.kill()
    if is_waited_for:
        writer.wait()
    else:
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
    pid = f"-{writer.pid}-"

    names = left(tmp_path)
    assert len(names) == 2
    assert all(pid in name for name in names)
    assert [path.name.endswith("x") for path in find_scratch(tmp_path, time.time())] == [True]

    remove_abandoned(tmp_path)

    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", [
    ".tmp-" + "0123456789abcdef" * 2,
    ".tmp-ab_de12x",
    ".tmp-00000000-1-0123456789abcdef",
    ".labels.csv.00000000-1-0123456789abcdef.tmp",
])  # fmt: skip
def test_what_names_no_process_of_this_machine_has_to_be_old(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "inside").touch()
    age(folder, ABANDONED_AFTER_S + 60)

    assert left(tmp_path) == []

    age(folder / "inside", ABANDONED_AFTER_S + 60)
    assert left(tmp_path) == [name]
    assert list(find_abandoned(tmp_path, time.time() - 120)) == []


@pytest.mark.parametrize("name", [
    "labels.csv", ".hidden", ".labels.csv.swp", ".tmp", ".tmp-", "tmp-" + "0" * 32,
    ".labels.csv." + "0123456789abcdef" * 2 + ".tmp", ".x.00000000-1-0123456789abcdef.old",
])  # fmt: skip
def test_files_of_others_are_never_taken_for_those_of_poets(tmp_path, name):
    age_path = tmp_path / name
    age_path.touch()
    age(age_path, 100 * ABANDONED_AFTER_S)

    assert left(tmp_path) == []
    remove_abandoned(tmp_path)
    assert age_path.exists()


def test_a_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "photos").mkdir()
    age((tmp_path / "photos"), 0)
    (tmp_path / "photos" / "1.jpg").touch()
    link = tmp_path / ".tmp-00000000-1-0123456789abcdef"
    link.symlink_to(tmp_path / "photos")
    then = time.time() - ABANDONED_AFTER_S - 60
    os.utime(link, (then, then), follow_symlinks=False)

    remove_abandoned(tmp_path)

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.jpg", "photos"]


def test_what_was_moved_out_of_the_way_by_a_killed_process_comes_back(tmp_path, writer):
    [old] = tmp_path.glob(".export.*.old")
    (old / "README.md").write_text("the export before")
    restore_replaced(tmp_path / "export")
    assert not (tmp_path / "export").exists()
    writer.kill()
    writer.wait()

    restore_replaced(tmp_path / "export")

    assert (tmp_path / "export" / "README.md").read_text() == "the export before"
    assert not old.exists()


def test_what_has_been_replaced_already_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary, "_is_running", lambda pid: False)
    (tmp_path / "export").mkdir()
    replaced_beside(tmp_path / "export").mkdir()

    restore_replaced(tmp_path / "export")

    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_time_is_that_of_the_file_system(tmp_path):
    (tmp_path / "file").touch()

    assert abs(file_clock(tmp_path) - (tmp_path / "file").stat().st_mtime) < 60
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert re.fullmatch(r"poets-[0-9a-f]{8}-\d+-[0-9a-f]{16}-", scratch_prefix())
