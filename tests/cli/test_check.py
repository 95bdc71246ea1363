"""`poets check`: a table for people, JSON for programs, and an exit code that says which."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.programs import invoke, start, wait_until
from tests.builders.traps import DEADLY_IMAGES, lay

RED = (220, 30, 30)


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=20)


def test_a_clean_folder_is_exit_code_0_and_says_what_comes_next(photos):
    result = invoke("check", photos, "--quiet")

    assert result.exit_code == 0
    assert result.stderr == ""
    first, _, last = result.stdout.strip().split("\n")
    assert first.startswith(f"{photos}: 40 images (0 unreadable), 2 labels, ")
    assert last == f"Nothing would spoil a run: poets submit-dataset {photos}"


def test_remarks_alone_are_exit_code_0(photos, kept_inspector):
    for number in range(5):
        (photos / "red" / f"empty{number}.jpg").touch()

    result = invoke("check", photos)

    assert result.exit_code == 0
    lines = result.stdout.split("\n")
    assert lines[2] == "COUNT  WHAT                        SPOILS A RUN"
    assert lines[3] == "    5  images that cannot be read  no"
    assert "  'red/empty2.jpg': empty file" in lines
    assert "red/empty3.jpg" not in result.stdout
    assert "  and 2 more (--json lists all)" in lines
    assert result.stderr.startswith("checking: ")


def test_what_would_spoil_a_run_is_exit_code_1(photos, kept_inspector):
    shutil.copy(photos / "red" / "000.jpg", photos / "blue" / "a[b]\n.jpg")

    result = invoke("check", photos)

    assert result.exit_code == 1
    assert "    1  photographs under two labels  yes" in result.stdout
    assert "\n  'blue/a[b]\\n.jpg' = 'red/000.jpg'\n" in result.stdout
    assert "Something would spoil a run" in result.stdout


def test_json_lists_everything_and_nothing_else_is_on_stdout(photos, kept_inspector):
    for number in range(5):
        (photos / "red" / f"empty{number}.jpg").touch()

    result = invoke("check", photos, "--json", "--seed", 3)

    found = json.loads(result.stdout)
    assert list(found) == [
        "folder", "spoils", "images", "unreadable", "labels", "ignored", "quick", "seconds",
        "counts", "concerns",
    ]  # fmt: skip
    assert found["spoils"] is False
    assert found["counts"]["unreadable"] == len(found["concerns"]) == 5


def test_a_quick_check_says_what_it_does_not_know(photos, kept_inspector):
    result = invoke("check", photos, "--quick")

    assert result.exit_code == 0
    assert "copies and damage after the header were not looked for" in result.stdout


def test_a_missing_folder_is_one_line(tmp_path):
    result = invoke("check", tmp_path / "nowhere")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: There is no folder '{tmp_path}/nowhere'. Check the path.\n"


def test_percentages_that_cannot_be_are_refused_before_anything_is_read(photos):
    assert invoke("check", photos, "--testing-percentage", 95).exit_code == 2


def test_awkward_photographs(data, kept_inspector):
    result = invoke("check", data / "awkward", "--json")

    found = json.loads(result.stdout)
    # They lie in no label's folder; besides, nothing among them would spoil a run.
    assert result.exit_code == 1
    assert [concern["kind"] for concern in found["concerns"] if concern["spoils"]] == ["refused"]
    assert found["unreadable"] == found["counts"]["unreadable"] + found["counts"]["oversized"] == 22


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_ctrl_c_ends_it_in_order_and_leaves_no_process(photos, tmp_path):
    picture = make_picture(photos / "blue" / "hangs_once.jpg", RED)
    check = start("check", photos, **lay(tmp_path / "traps", DEADLY_IMAGES))

    wait_until(Path(f"{picture}.pid").exists)
    tasks = Path(f"/proc/{check.pid}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    # As a terminal does: to every process at once.
    for pid in (*children, check.pid):
        os.kill(pid, signal.SIGINT)
    out, err = check.communicate()

    assert check.returncode == 130
    assert out == ""
    assert err.endswith("Interrupted.\n")
    assert "Traceback" not in err
    assert children
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
