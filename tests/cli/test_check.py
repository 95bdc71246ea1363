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
    first, labels, splits, checked, _, last = result.stdout.strip().split("\n")
    assert first == f"{photos}: 40 images"
    assert labels == "  labels  2: blue 20, red 20"
    assert splits == "  splits  30 training, 6 validation, 4 testing (chosen by file name)"
    assert checked.endswith(" images/s): 0 unreadable")
    assert last == f"Nothing would spoil a run: poets submit-dataset {photos}"


def test_remarks_alone_are_exit_code_0(photos, kept_inspector):
    for number in range(5):
        (photos / "red" / f"empty{number}.jpg").touch()

    result = invoke("check", photos)

    assert result.exit_code == 0
    lines = result.stdout.split("\n")
    assert lines[5] == "COUNT  WHAT                        SPOILS A RUN"
    assert lines[6] == "    5  images that cannot be read  no"
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
        "folder", "spoils", "images", "unreadable", "labels", "splits", "split_folders", "ignored",
        "quick", "seconds", "counts", "concerns",
    ]  # fmt: skip
    assert found["spoils"] is False
    assert found["counts"]["unreadable"] == len(found["concerns"]) == 5


def test_folders_of_splits_are_named_with_their_counts_and_leaks_between_them(
    tmp_path, kept_inspector
):
    for split, labels in (("train", 20), ("Test", 5)):
        make_data_set(tmp_path / "photos" / split, per_label=labels)
    for label in ("red", "blue"):
        for path in (tmp_path / "photos" / "Test" / label).iterdir():
            path.write_bytes(path.read_bytes() + split.encode())
    shutil.copy(tmp_path / "photos/Test/red/001.jpg", tmp_path / "photos/train/red/copy.jpg")

    result = invoke("check", tmp_path / "photos")

    assert result.exit_code == 0
    assert "  labels  2: blue 25, red 26\n" in result.stdout
    assert (
        "10 testing (training from train, testing from Test, validation chosen from the "
        "training images by file name)\n"
    ) in result.stdout
    assert "    1  photographs in two splits  no" in result.stdout
    assert "'Test/red/001.jpg' = 'train/red/copy.jpg'" in result.stdout
    as_json = json.loads(invoke("check", tmp_path / "photos", "--json").stdout)
    assert as_json["split_folders"] == {"Test": "testing", "train": "training"}
    assert as_json["splits"]["testing"] == 10


def test_folders_that_may_be_splits_or_labels_spoil_a_run_and_both_ways_out_are_named(tmp_path):
    make_data_set(tmp_path / "photos" / "train", per_label=20)
    make_data_set(tmp_path / "photos" / "test", per_label=20)
    make_picture(tmp_path / "photos" / "test" / "a.jpg", RED, 900)

    result = invoke("check", tmp_path / "photos")

    assert result.exit_code == 1
    assert "images lie directly in 'test'" in result.stdout
    assert "--splits folders" in result.stdout
    assert "--splits hash" in result.stdout
    for choice in ("folders", "hash"):
        chosen = invoke("check", tmp_path / "photos", "--splits", choice, "--quick")
        assert chosen.exit_code == 0, choice
        assert chosen.stdout.endswith(f"{tmp_path}/photos --splits {choice}\n")


def test_a_label_that_is_a_link_spoils_a_run_unless_links_are_followed(photos, tmp_path):
    (tmp_path / "linked").mkdir()
    shutil.copytree(photos / "red", tmp_path / "linked" / "red")
    shutil.copytree(photos / "red", tmp_path / "linked" / "rose")
    (tmp_path / "linked" / "blue").symlink_to(photos / "blue")

    result = invoke("check", tmp_path / "linked", "--quick")
    followed = invoke("check", tmp_path / "linked", "--quick", "--follow-links")

    assert result.exit_code == 1
    assert "All images of 'blue' in" in result.stdout
    assert "Follow them with --follow-links" in result.stdout
    assert "1 link was not followed; --follow-links follows them." in result.stdout
    assert followed.exit_code == 0
    assert followed.stdout.endswith(f"poets submit-dataset {tmp_path}/linked --follow-links\n")
    assert "labels  3: blue 20, red 20, rose 20\n" in followed.stdout


def test_a_folder_too_high_up_is_named_with_the_command_that_works(tmp_path):
    make_data_set(tmp_path / "top" / "my photos", per_label=20)

    result = invoke("check", tmp_path / "top")

    assert result.exit_code == 1
    assert f"Try `poets submit-dataset '{tmp_path}/top/my photos'`." in result.stdout


def test_labels_that_are_dates_are_a_remark_with_the_command_for_what_is_in_them(tmp_path):
    for year in ("2023", "2024"):
        make_data_set(tmp_path / "top" / year, per_label=20)

    result = invoke("check", tmp_path / "top", "--quick")

    assert result.exit_code == 0
    assert (
        f"If you meant the folders in it: poets submit-dataset {tmp_path}/top/2023"
    ) in result.stdout


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
    assert found["unreadable"] == found["counts"]["unreadable"] + found["counts"]["oversized"] == 20


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
    assert out.startswith(f"{photos}: 41 images\n")
    assert "checked" not in out
    assert err.endswith("Interrupted.\n")
    assert "Traceback" not in err
    assert children
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
