"""Images that kill, hang or starve whoever reads them become rows; their neighbours do not."""

import csv
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets_json
from tests.builders.traps import DEADLY_IMAGES, HUNGRY, QUICK_VERDICTS, lay
from tests.faults.small import SMALL

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
KILLED = "killed the process that read it (SIGKILL)"
HANGS = "hangs: gave no result within 3 s"
STARVES = "cannot be decoded: needs more memory than there is"


def make_poison(path):
    make_picture(path, COLOURS["red"], 1)
    if path.name.endswith("starves.jpg"):
        path.write_bytes(path.read_bytes() + b"starves")


def submit(photos, tmp_path):
    traps = lay(tmp_path / "traps", DEADLY_IMAGES, HUNGRY, QUICK_VERDICTS)
    return poets_json("submit-dataset", photos, *SMALL, **traps)


def reasons_of(result):
    with open(f"{result['model']}/quarantine.csv", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def assert_only_these_are_lost(result, tmp_path, undisturbed_few, expected):
    assert reasons_of(result) == expected
    assert (result["computed"], result["lost"]) == (24, 0)
    assert_all_accounted(tmp_path / "storage", result["run"], quarantined=len(expected))
    assert_same_model(Path(result["model"]), undisturbed_few.model)


def test_three_poison_images_in_one_batch_take_nobody_with_them(few, tmp_path, undisturbed_few):
    """One kills its process, one hangs forever, one wants all the memory."""
    expected = {"red/1_hangs.jpg": HANGS, "red/2_kills.jpg": KILLED, "red/3_starves.jpg": STARVES}
    for path in expected:
        make_poison(few / path)

    result = submit(few, tmp_path)

    assert_only_these_are_lost(result, tmp_path, undisturbed_few, expected)


def test_images_that_hang_in_every_batch_do_not_stop_the_run(few, tmp_path, undisturbed_few):
    """One in each of the three batches, and there are two processes or even one."""
    paths = ("blue/000_hangs.jpg", "blue/009_hangs.jpg", "red/003_hangs.jpg")
    expected = dict.fromkeys(paths, HANGS)
    for path in expected:
        make_poison(few / path)

    result = submit(few, tmp_path)

    assert_only_these_are_lost(result, tmp_path, undisturbed_few, expected)
