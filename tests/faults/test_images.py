"""Files that are no images, or must not be opened, or are not what was planned any more."""

import csv
import hashlib
import json
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from tests.builders.accounting import assert_all_accounted, assert_same_model, stored_results
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets_json, start
from tests.builders.traps import HOLD_WORKER, RECORD, lay, let_go, opened, wait_for_held
from tests.faults.small import SMALL
from workers.images.files import MAX_BYTES
from workers.storage.plan import read_plan

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
REASONS = {
    "bomb.png": "too large: 20000x20000 pixels",
    "empty.jpg": "empty file",
    "oversized.jpg": f"too large: {MAX_BYTES + 1} bytes",
    "text.jpg": "not an image: no known format",
    "truncated.jpg": "cannot be decoded: image file is truncated",
}


def make_bad_files(folder):
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    (folder / "empty.jpg").touch()
    (folder / "oversized.jpg").touch()
    os.truncate(folder / "oversized.jpg", MAX_BYTES + 1)
    (folder / "text.jpg").write_text("no image at all")
    whole = make_picture(folder / "truncated.jpg", COLOURS["red"], 1)
    whole.write_bytes(whole.read_bytes()[:700])


def make_traps_for_readers(folder, outside):
    """Make what must never be opened: whoever does waits forever or leaves the folder."""
    secret = make_picture(outside / "secret.jpg", COLOURS["red"], 2)
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe without ending")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(folder / "socket.jpg"))
    (folder / "out.jpg").symlink_to(secret)
    (folder / "away").symlink_to(outside)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "around").symlink_to(folder)
    try:
        os.mknod(folder / "device.jpg", 0o666 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        return {"links": 4, "devices and pipes": 3}
    return {"links": 4, "devices and pipes": 4}


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_bad_files_are_rows_and_nothing_is_opened_that_should_not_be(
    few, tmp_path, ready_storage, undisturbed_few, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited
    make_bad_files(few / "red")
    ignored = make_traps_for_readers(few / "red", tmp_path / "outside")
    watched = (f"{few}/", f"{tmp_path / 'outside'}/", "/dev/zero")
    traps = lay(tmp_path / "traps", RECORD.format(folders=watched))

    result = poets_json("submit-dataset", few, *SMALL, **traps)

    quarantine = rows_of(f"{result['model']}/quarantine.csv")
    assert quarantine.keys() == {f"red/{name}" for name in REASONS}
    for name, reason in REASONS.items():
        assert quarantine[f"red/{name}"]["reason"].startswith(reason)
    assert read_plan(ready_storage.run(result["run"])).ignored == ignored
    assert_same_model(Path(result["model"]), undisturbed_few.model)
    assert_all_accounted(tmp_path / "storage", result["run"], quarantined=len(REASONS))

    # An image under the ending of another kind is an image.
    Image.new("RGB", (48, 64), COLOURS["blue"]).save(few / "blue" / "a png.jpg", "PNG")
    job = poets_json("classify-dir", few, "-o", tmp_path / "labels.csv", **traps)

    labels = rows_of(tmp_path / "labels.csv")
    assert (job["images"], job["ok"], job["failed"]) == (30, 25, 5)
    for name, reason in REASONS.items():
        assert labels[f"red/{name}"]["error"].startswith(reason)
    assert labels["blue/a png.jpg"]["label"] == "blue"
    assert_all_accounted(tmp_path / "storage", job["job"], quarantined=len(REASONS))

    files = {
        entry.path for entry in os.scandir(few / "red") if entry.is_file(follow_symlinks=False)
    }
    files |= {entry.path for entry in os.scandir(few / "blue")}
    assert opened(tmp_path / "traps") == files


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).digest()


def test_images_that_change_under_a_run_are_rows_and_never_mixed_with_what_they_were(
    few, tmp_path, ready_storage
):
    """While workers wait: one is replaced, one deleted, one added, one a pipe, one a link."""
    red = few / "red"
    traps = lay(tmp_path / "traps", HOLD_WORKER)
    job = ("submit-dataset", few, *SMALL, "--name", "spring", "--max-failed", "20%", "--json")
    process = start(*job, **traps)
    wait_for_held(tmp_path / "traps")
    make_picture(red / "004.jpg", COLOURS["red"], 77)
    for name in ("005.jpg", "006.jpg", "007.jpg"):
        (red / name).unlink()
    os.mkfifo(red / "006.jpg")
    (red / "007.jpg").symlink_to(make_picture(tmp_path / "secret.jpg", COLOURS["red"], 2))
    make_picture(red / "100.jpg", COLOURS["red"], 100)

    let_go(tmp_path / "traps")
    out, err = process.communicate()

    assert process.returncode == 0, err
    result = json.loads(out)
    assert (result["images"], result["quarantined"], result["lost"]) == (24, 4, 0)
    here = f"(seen on {socket.gethostname()})"
    assert {
        path: row["reason"] for path, row in rows_of(f"{result['model']}/quarantine.csv").items()
    } == {
        "red/004.jpg": f"changed after the run was planned; submit the folder again {here}",
        "red/005.jpg": f"cannot be opened: No such file or directory {here}",
        "red/006.jpg": f"not a regular file {here}",
        "red/007.jpg": f"cannot be opened: Too many levels of symbolic links {here}",
    }
    assert_all_accounted(tmp_path / "storage", "spring", quarantined=4)

    # The next run has the new one and the added one, and takes the rest from the cache.
    again = poets_json("submit-dataset", few, *SMALL, "--name", "summer")
    assert (again["images"], again["computed"], again["cached"]) == (22, 2, 20)
    found = stored_results(ready_storage, "summer")
    assert {path: result.digest for path, result in found.items()} == {
        path: digest_of(few / path) for path in found
    }
    assert_all_accounted(tmp_path / "storage", "summer")
