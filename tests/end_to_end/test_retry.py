"""Bad images are listed, copied, mended and tried again; nothing else is done again."""

import json
import re
import signal

import pytest

from tests.builders.accounting import assert_all_accounted, assert_same_model
from tests.builders.backbones import TINY_OPTIONS, WEIGHTS, install_tiny
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import poets, poets_json, start, wait_until
from tests.builders.reports import read_table
from tests.builders.runs import trained
from tests.builders.traps import DEADLY_IMAGES, lay
from workers.settings import load_settings
from workers.storage.layout import Storage

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def cut_in_half(picture):
    content = picture.read_bytes()
    picture.write_bytes(content[: len(content) // 2])
    return content


def test_mended_images_get_into_a_new_model_and_the_old_run_stays(photos, tmp_path, ready_storage):
    half = make_picture(photos / "red" / "half.jpg", COLOURS["red"], 1)
    whole = cut_in_half(half)
    (photos / "red" / "empty.jpg").touch()
    make_picture(photos / "red" / "kills.jpg", COLOURS["red"], 2)
    first = poets_json(
        "submit-dataset",
        photos,
        *TINY_OPTIONS,
        "--name",
        "spring",
        **lay(tmp_path / "traps", DEADLY_IMAGES),
    )
    listed = poets_json("quarantine", "spring", "--copy-to", tmp_path / "bad")

    assert first["quarantined"] == len(listed["quarantined"]) == 3
    reasons = {row["path"]: row["reason"] for row in listed["quarantined"]}
    assert reasons["red/empty.jpg"] == "empty file"
    assert reasons["red/kills.jpg"] == "killed the process that read it (SIGKILL)"
    assert reasons["red/half.jpg"].startswith("cannot be decoded")
    assert (tmp_path / "bad" / "red" / "half.jpg").read_bytes() == half.read_bytes()
    assert len(read_table(tmp_path / "bad" / "quarantine.csv")) == 3

    half.write_bytes(whole)
    again = poets_json("retry", "spring")

    assert again["run"] == "spring-retry-1"
    # The one that killed is as it was, and is tried all the same.
    assert (again["cached"], again["computed"], again["quarantined"]) == (80, 2, 1)
    assert (again["retried"], again["repaired"], again["lost"]) == (3, 2, 0)
    assert_all_accounted(ready_storage.root, "spring-retry-1", quarantined=1)
    assert_all_accounted(ready_storage.root, "spring", quarantined=3)
    second = install_tiny(Storage(tmp_path / "second"), WEIGHTS)
    fresh = poets_json("submit-dataset", photos, *TINY_OPTIONS, POETS_STORAGE=str(second.root))
    assert_same_model(model_of("spring-retry-1"), second.run(fresh["run"]).model)
    table, err = poets("quarantine", "spring-retry-1")
    assert table.splitlines()[1].split() == ["red/empty.jpg", "red", "empty", "file"]
    assert "1 of 83 images of run spring-retry-1 are in quarantine." in err


def model_of(run):
    return Storage(load_settings().storage).run(run).model


def test_the_failed_rows_of_a_job_are_done_again(photos, tmp_path, ready_storage):
    trained(ready_storage, photos, name="spring")
    whole = cut_in_half(photos / "red" / "007.jpg")
    labels = tmp_path / "labels.csv"
    poets("classify-dir", photos, "-o", labels, "--name", "job", "-q")
    before = read_table(labels)

    (photos / "red" / "007.jpg").write_bytes(whole)
    out, err = poets("retry", "job")

    assert re.search(r"retried +1: 1 repaired, none failed again", out)
    assert "Run job-retry-1: the images of job" in err
    after = read_table(labels)
    assert [row["path"] for row in after] == [row["path"] for row in before]
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [(row["path"], row["status"], row["label"]) for row in changed] == [
        ("red/007.jpg", "ok", "red")
    ]
    assert "No image of run job-retry-1 has failed" in poets("retry", "job-retry-1")[1]


def test_a_retry_that_was_interrupted_is_resumed(photos, tmp_path):
    bad = make_picture(photos / "red" / "hangs_once.jpg", COLOURS["red"], 1)
    # Of a size of its own, so that it is the worker that opens it, not the planner.
    whole = cut_in_half(bad) + bytes(4096)
    poets("submit-dataset", photos, *TINY_OPTIONS, "--name", "spring", "-q")
    bad.write_bytes(whole)

    process = start("retry", "spring", "--name", "mended", **lay(tmp_path / "traps", DEADLY_IMAGES))
    wait_until(bad.with_name(bad.name + ".pid").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 130
    assert err.splitlines()[-1] == "Stopped. Continue with `poets resume mended`."
    result = poets_json("resume", "mended")
    assert (result["computed"], result["repaired"], result["quarantined"]) == (1, 1, 0)
    assert json.loads(poets("show", "spring", "--json")[0])["result"]["quarantined"] == 1
