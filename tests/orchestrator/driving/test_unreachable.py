"""Images that no worker could open: few are rows, many or a whole folder end the run."""

import json
import os

import pytest

from orchestrator.driving.broker import open_broker
from orchestrator.driving.driver import drive_run
from orchestrator.driving.result import to_dict
from orchestrator.driving.unreachable import allow_failed, check_unreachable, find_unreachable
from orchestrator.jobs.retry_images import plan_retry
from orchestrator.jobs.submit import plan_retraining
from orchestrator.progress import ignore
from orchestrator.runs import reopen_run, state_of
from tests.builders.datasets import make_data_set
from tests.builders.runs import images_of, make_run
from tests.builders.workers import work_in_thread
from workers.errors import TooManyFailedError
from workers.leases import connect
from workers.presence import ONLY_WORKER
from workers.settings import load_settings
from workers.storage.unreachable import Unreachable, list_unreachable, write_unreachable

GONE = "cannot be opened: No such file or directory"


@pytest.fixture
def run(ready_storage, tmp_path):
    """24 images in three batches: blue/000 to 011, then red."""
    return make_run(ready_storage, make_data_set(tmp_path / "photos"))


def lose(run, *paths, tried_by=("alpha:7", "beta:8", "alpha:9"), reason=GONE):
    """Note that workers could not open some images."""
    write_unreachable(run.folder, 0, Unreachable(dict.fromkeys(paths, reason), tried_by))


def paths_in(folder, count):
    return [f"{folder}/{number:03d}.jpg" for number in range(count)]


def test_a_run_that_lacks_nothing_is_not_looked_at_any_closer(run):
    run.folder.manifest.unlink()

    assert find_unreachable(run) is None
    check_unreachable(run)


def test_more_than_the_allowed_part_ends_a_run_with_what_they_have_in_common(run):
    lose(run, *paths_in("blue", 1))
    check_unreachable(run)

    lose(run, *paths_in("blue", 2))

    with pytest.raises(TooManyFailedError) as caught:
        check_unreachable(run)
    assert str(caught.value) == (
        "2 of 24 images (8.3%) cannot be read as planned, all of them in 'blue': "
        f"{GONE} (seen on alpha, beta). At most 5% of all may fail, and no whole folder or label."
    )


def test_a_whole_folder_ends_a_run_however_few_images_it_has(ready_storage, tmp_path):
    photos = make_data_set(tmp_path / "photos", per_label=30)
    for name in ("deep/er/1.jpg", "deep/est/2.jpg", "alone/3.jpg"):
        (photos / "red" / name).parent.mkdir(parents=True)
        (photos / "red/000.jpg").rename(photos / "red" / name)
        (photos / "red" / name).write_bytes((photos / "red" / name).read_bytes() + name.encode())
        (photos / "red/000.jpg").write_bytes((photos / "red/001.jpg").read_bytes() + b"0")
    run = make_run(ready_storage, photos)

    # One image alone is a file that somebody has removed.
    lose(run, "red/alone/3.jpg")
    check_unreachable(run)

    lose(run, "red/deep/er/1.jpg", "red/deep/est/2.jpg")
    with pytest.raises(TooManyFailedError, match=r"among them all images of 'red/deep' \(2\): "):
        check_unreachable(run)

    allow_failed(run, 0.5)
    with pytest.raises(TooManyFailedError, match="At most 50% of all may fail, and no whole"):
        check_unreachable(run)
    allow_failed(run, 1)
    check_unreachable(run)


@pytest.mark.parametrize("has_many_labels", [True, False])
def test_a_whole_label_ends_a_run_wherever_its_images_are(ready_storage, tmp_path, has_many_labels):
    photos, rows = make_data_set(tmp_path / "photos", per_label=30), ["path,labels"]
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        labels = "rare" if number % 20 == 5 else ("one" if number % 2 else "two")
        also = ";one" if has_many_labels and labels == "rare" else ""
        rows.append(f"{path.relative_to(photos)},{labels}{also}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    run = make_run(ready_storage, photos, label_file=tmp_path / "labels.csv")
    allow_failed(run, 0.5)

    lose(run, "blue/005.jpg", "blue/025.jpg")
    check_unreachable(run)

    lose(run, "blue/005.jpg", "blue/025.jpg", "red/015.jpg")
    with pytest.raises(TooManyFailedError, match=r"all images of the label 'rare' \(3\): "):
        check_unreachable(run)


def test_the_reason_of_most_is_named_where_they_differ(run):
    lose(run, *paths_in("blue", 3))
    changed = {"red/001.jpg": "changed after the run was planned"}
    write_unreachable(run.folder, 1, Unreachable(changed, ("alpha:7",)))

    found = find_unreachable(run)

    assert found.describe() == (
        "4 of 24 images (16.7%) cannot be read as planned; 3 of them: "
        f"{GONE} (seen on alpha, beta)."
    )


def test_a_note_that_is_damaged_counts_for_nothing(run):
    lose(run, *paths_in("blue", 12))
    (run.folder.unreachable / "0").write_bytes(b"{")

    assert find_unreachable(run) is None


@pytest.fixture
def alone(broker_url, monkeypatch):
    """A worker in this process, which knows that there is no other."""
    monkeypatch.setenv(ONLY_WORKER, "1")
    with work_in_thread(broker_url) as taken:
        yield taken


def drive(run):
    return to_dict(drive_run(run, open_broker(load_settings()), ignore))


def batches_in(taken):
    return [arguments[1] for name, arguments in taken if name == "poets.compute_batch"]


def test_a_run_without_a_folder_fails_and_resumes_with_only_these_images(run, alone, tmp_path):
    photos = tmp_path / "photos"
    (photos / "red").rename(tmp_path / "red")

    with pytest.raises(TooManyFailedError) as caught:
        drive(run)

    assert "12 of 24 images (50.0%)" in str(caught.value)
    assert f"all images of 'red' (12): {GONE} (seen on {os.uname().nodename})" in str(caught.value)
    assert caught.value.run == "run"
    state = state_of(load_settings(), run)
    assert (state.state, state.is_mendable) == ("failed", True)
    # Once, and once more at the end: what blue has is not computed again.
    assert batches_in(alone) == [0, 1, 2, 1, 2]

    (tmp_path / "red").rename(photos / "red")
    alone.clear()
    reopen_run(run)
    result = drive(run)

    assert (result["computed"], result["quarantined"], result["lost"]) == (24, 0, 0)
    assert batches_in(alone) == [1, 2]
    assert list(list_unreachable(run.folder)) == []
    assert not list(run.storage.root.rglob("*part*.arrow"))


def test_a_run_may_be_resumed_with_more_failures(run, alone, tmp_path):
    for number in range(3):
        (tmp_path / f"photos/red/{number:03d}.jpg").unlink()
    with pytest.raises(TooManyFailedError, match="3 of 24 images"):
        drive(run)

    reopen_run(run, max_failed=0.2)
    result = drive(run)

    assert (result["computed"], result["quarantined"], result["lost"]) == (21, 3, 0)
    reasons = (run.folder.model / "quarantine.csv").read_text()
    assert reasons.count(f"{GONE} (seen on {os.uname().nodename})") == 3

    # What comes of it may lack as many, unless told otherwise.
    again = plan_retraining(
        load_settings(), "run", {"seed": 1}, name="again", detach=False, on_progress=ignore
    )
    assert again.plan.max_failed == 0.2
    retry = plan_retry(load_settings(), "run", name=None, detach=False, on_progress=ignore)
    assert retry.plan.max_failed == 0.2


def test_images_that_are_back_before_the_end_are_in_the_model(run, alone, tmp_path, monkeypatch):
    """A mount that vanishes in mid-run and comes back."""
    red, away = tmp_path / "photos/red", tmp_path / "red"
    red.rename(away)

    def bring_back(progress):
        if progress.done == 24 and away.exists():
            away.rename(red)

    result = to_dict(drive_run(run, open_broker(load_settings()), bring_back))

    assert (result["computed"], result["quarantined"]) == (24, 0)


def test_damaged_images_are_the_users_business(run, alone, tmp_path, broker_url):
    for row in images_of(run, "training")[:6]:
        path = tmp_path / "photos" / row.path
        before = path.stat()
        path.write_bytes(bytes(before.st_size))
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    assert drive(run)["quarantined"] == 6
    assert not connect(broker_url).exists("poets:run:troubles")
    assert not run.folder.unreachable.exists()


def test_the_plan_says_what_may_fail_only_where_it_is_not_the_default(run, ready_storage):
    assert "max_failed" not in json.loads(run.folder.plan.read_bytes())
