"""Storage that is full, read-only or unmounted: no image's fault, and the run goes on later."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.programs import poets, poets_json, start
from tests.builders.traps import HOLD_WORKER, IMPATIENT, lay, let_go, wait_for_held
from tests.faults.small import SMALL
from workers.storage.making import make_storage

pytestmark = pytest.mark.stack


def mount(*arguments):
    if subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here (it needs root)")


def unmount(folder):
    # As when a server goes away: files that are open do not keep the mount.
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def disk(tmp_path, converted):
    """The storage on a file system of its own of 16 MB, with the converted backbone."""
    folder = tmp_path / "storage"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=16m", "none", folder)
    make_storage(folder)
    shutil.copytree(converted.root / "backbones", folder / "backbones")
    yield folder
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if line.split()[1].startswith(f"{tmp_path}/"):
            unmount(line.split()[1])


def held_submit(photos, tmp_path):
    traps = lay(tmp_path / "traps", IMPATIENT, HOLD_WORKER)
    process = start("submit-dataset", photos, *SMALL, "--name", "spring", **traps)
    wait_for_held(tmp_path / "traps")
    return process


def end_of(process, tmp_path):
    """Let the run go on; return its last words."""
    let_go(tmp_path / "traps")
    _, err = process.communicate()
    assert "Traceback" not in err
    assert process.returncode == 1
    return err.splitlines()[-1]


def assert_resumes(storage, undisturbed_few):
    result = poets_json("resume", "spring")
    assert (result["images"], result["computed"], result["quarantined"]) == (24, 24, 0)
    assert_all_accounted(storage, "spring")
    assert_same_model(Path(result["model"]), undisturbed_few.model)


def fill(disk, free):
    """Leave `free` bytes of the disk free."""
    left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(left - free))


@pytest.mark.parametrize("free_kb", [16, 100], ids=["full for a shard", "full for the model"])
def test_a_storage_that_is_full_pauses_the_run_which_resumes_with_room(
    few, disk, tmp_path, undisturbed_few, free_kb
):
    process = held_submit(few, tmp_path)
    fill(disk, 1024 * free_kb)

    said = end_of(process, tmp_path)

    assert "Run 'spring' cannot continue: A worker on " in said
    assert "No space left on device" in said
    assert "`poets resume spring`" in said
    (disk / "filler").unlink()
    assert_resumes(disk, undisturbed_few)
    assert not list(disk.rglob(".tmp-*"))


def test_a_storage_that_has_become_read_only_pauses_the_run(few, disk, tmp_path, undisturbed_few):
    process = held_submit(few, tmp_path)
    mount("-o", "remount,ro", disk)

    said = end_of(process, tmp_path)

    assert "Run 'spring' cannot continue: A worker on " in said
    assert "Read-only file system" in said
    assert "`poets resume spring`" in said
    assert "Read-only file system" in poets("resume", "spring", exit_code=1)[1]
    mount("-o", "remount,rw", disk)
    assert_resumes(disk, undisturbed_few)


def test_a_storage_that_is_unmounted_pauses_the_run(few, disk, tmp_path, undisturbed_few):
    mount("--bind", disk, disk)
    process = held_submit(few, tmp_path)
    kept = tmp_path / "kept"
    kept.mkdir()
    mount("--bind", disk, kept)
    unmount(disk)
    unmount(disk)

    said = end_of(process, tmp_path)

    assert "has no run 'spring' any more (was it unmounted?)" in said
    assert "`poets resume spring`" in said
    assert list(disk.iterdir()) == [], "something was written below the mount point"
    mount("--bind", kept, disk)
    unmount(kept)
    assert_resumes(disk, undisturbed_few)


def test_photographs_that_are_unmounted_are_no_images_fault(few, disk, tmp_path, undisturbed_few):
    elsewhere = few.rename(tmp_path / "elsewhere")
    few.mkdir()
    mount("--bind", elsewhere, few)
    process = held_submit(few, tmp_path)
    unmount(few)

    said = end_of(process, tmp_path)

    assert f"The folder {few} of the photographs is gone or empty here." in said
    mount("--bind", elsewhere, few)
    assert_resumes(disk, undisturbed_few)
    unmount(few)
