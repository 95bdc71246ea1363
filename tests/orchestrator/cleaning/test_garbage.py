"""Garbage: what no run needs is found and removed, and nothing else is."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.cleaning import uses
from orchestrator.cleaning.garbage import IN_USE, find_garbage, remove_garbage
from orchestrator.dataset.scan import scan_folder
from orchestrator.embedded import stack as stacks
from orchestrator.embedded.stack import Stack, try_lock
from orchestrator.planning.plan import plan_again, plan_labelling
from tests.builders.backbones import BACKBONE, BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.paths import ROOT
from tests.builders.programs import invoke
from tests.builders.runs import make_run, pretend_run, trained
from workers.errors import StorageError
from workers.settings import load_settings
from workers.storage.atomic import write_whole
from workers.storage.plan import LabellingOptions
from workers.storage.root import MARKER
from workers.storage.temporary import ABANDONED_AFTER_S, temporary_beside, temporary_in

DAY_S = 24 * 3600.0
OTHER_MACHINE = "00000000-1-0123456789abcdef"


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """Where the stacks of this test are; those of this machine are none of its business."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(stacks, "find_parents", lambda: [folder])
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


@pytest.fixture
def run(ready_storage, photos):
    """A run whose bottlenecks are there."""
    run = make_run(ready_storage, photos)
    pretend_run(run)
    return run


def age(path, days=100.0):
    """Let a file, or a folder with all in it, have been written long ago."""
    then = time.time() - days * DAY_S
    for each in (path, *path.rglob("*")):
        os.utime(each, (then, then), follow_symlinks=False)
    return path


def found(days=30.0):
    """Return the kinds and names of what is found, and remove nothing."""
    findings = find_garbage(load_settings(), days * DAY_S)
    return sorted((one.kind, one.path.name) for one in findings.garbage)


def clean(days=30.0):
    """Remove what is found; return the kinds and names of what is gone."""
    settings = load_settings()
    outcomes = list(remove_garbage(settings, find_garbage(settings, days * DAY_S)))
    assert not [one for one, reason in outcomes if not reason and os.path.lexists(one.path)]
    return sorted((one.kind, one.path.name) for one, reason in outcomes if not reason)


def all_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def shards(storage):
    return sorted(storage.root.glob("bottlenecks/*/*/*.arrow"))


def test_nothing_that_runs_need_is_found_however_old_it_is(ready_storage, run, photos, tmp_path):
    trained_run = trained(ready_storage, photos, name="trained")
    plan_again(trained_run, BACKBONE, trained_run.plan.training, name="again")
    plan_labelling(
        ready_storage,
        scan_folder(photos),
        BACKBONE,
        LabellingOptions("trained", str(tmp_path / "labels.csv"), "csv", 2),
        trained_run.folder.model,
        name="job",
        batch_size=8,
    )
    write_whole(ready_storage.weights(run.plan.weights_digest), b"weights in use")
    age(ready_storage.root)
    before = all_files(tmp_path)

    assert clean(days=0.1) == []
    assert all_files(tmp_path) == before


def test_bottlenecks_of_no_run_go_once_nobody_has_used_them_for_some_time(ready_storage, run):
    own = [path.name for path in shards(ready_storage)]
    lost = ready_storage.shard(BACKBONE_ID, f"{run.name}-1")
    lost.parent.mkdir(exist_ok=True)
    shutil.copy(shards(ready_storage)[0], lost)
    age(ready_storage.root, days=20)
    assert found(days=10) == []

    shutil.rmtree(run.folder.path)

    assert found(days=30) == []
    assert clean(days=10) == sorted(
        [("backbones", BACKBONE_ID), *(("bottlenecks", name) for name in (*own, lost.name))]
    )
    assert shards(ready_storage) == []
    assert not ready_storage.backbone(BACKBONE_ID).exists()


@pytest.mark.parametrize("kind", ["temporary", "link"])
def test_a_run_that_cannot_be_read_keeps_all_that_it_may_use(ready_storage, run, kind):
    shutil.copytree(run.folder.path, ready_storage.root / "elsewhere")
    if kind == "link":
        shutil.rmtree(run.folder.path)
        run.folder.path.symlink_to(ready_storage.root / "elsewhere")
    else:
        run.folder.manifest.write_bytes(b"damaged")
    age(ready_storage.root)

    findings = find_garbage(load_settings(), 0)

    assert findings.garbage == []
    assert bool(findings.notes) == (kind != "link")
    assert clean() == []
    assert len(shards(ready_storage)) == 3


def test_a_run_that_is_being_planned_keeps_what_it_may_take(ready_storage, run):
    shutil.rmtree(run.folder.path)
    age(ready_storage.root)
    plan = temporary_in(ready_storage.runs)
    plan.mkdir()

    findings = find_garbage(load_settings(), 0)

    assert findings.garbage == []
    assert "a run is being planned" in findings.notes[0]
    plan.rmdir()
    assert len(find_garbage(load_settings(), 0).garbage) == 4


def test_planning_a_run_counts_as_a_use_of_what_it_shares(ready_storage, run, photos):
    weights = ready_storage.weights(run.plan.weights_digest)
    write_whole(weights, b"weights")
    age(ready_storage.root)

    later = make_run(ready_storage, photos, name="later")
    for folder in (run.folder, later.folder):
        shutil.rmtree(folder.path)

    assert {kind for kind, _ in found()} == {"bottlenecks"}
    assert {kind for kind, _ in found(days=0)} == {"bottlenecks", "backbones", "weights"}


def test_what_a_run_takes_up_after_it_was_found_stays(ready_storage, run, photos):
    plan = run.folder.path.rename(ready_storage.root / "away")
    age(ready_storage.root)
    settings = load_settings()
    findings = find_garbage(settings, 0)
    plan.rename(run.folder.path)

    reasons = {reason for _, reason in remove_garbage(settings, findings)}

    assert reasons == {IN_USE}
    assert len(shards(ready_storage)) == 3


@pytest.mark.parametrize("is_missing", [True, False])
def test_without_a_folder_of_runs_nothing_shared_is_touched(ready_storage, run, is_missing):
    age(ready_storage.root)
    if is_missing:
        shutil.rmtree(ready_storage.runs)
        notes = find_garbage(load_settings(), 0).notes
        assert "is it mounted?" in notes[0]
    else:
        ready_storage.runs.chmod(0)
        if os.access(ready_storage.runs, os.R_OK):
            pytest.skip("root may read everything")
        with pytest.raises(StorageError):
            find_garbage(load_settings(), 0)
    assert len(shards(ready_storage)) == 3


def test_a_storage_that_is_not_there_is_refused_and_not_made(tmp_path):
    result = invoke("gc", "--storage", tmp_path / "nowhere")

    assert result.exit_code == 1
    assert "There is no storage" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_every_half_written_file_of_a_killed_process_goes_and_that_of_a_living_one_stays(
    ready_storage, run, tmp_path
):
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    options = LabellingOptions("m", str(outputs / "labels.csv"), "csv", 2)
    plan = run.plan.to_json().replace(b'"labelling": null', b'"labelling": null')
    content = json.loads(plan) | {"training": None, "labelling": options.__dict__, "name": "job"}
    job = ready_storage.run("job").path
    shutil.copytree(run.folder.path, job)
    (job / "run.json").write_text(json.dumps(content))
    (job / "predictions").mkdir()
    places = [
        ready_storage.root,
        ready_storage.runs,
        job,
        job / "predictions",
        ready_storage.backbone(BACKBONE_ID),
        shards(ready_storage)[0].parent,
    ]
    code = "\n".join([
        "import sys",
        "from pathlib import Path",
        "from workers.storage.temporary import *",
        "for place in sys.argv[2:]:",
        "    folder = temporary_in(Path(place))",
        "    folder.mkdir()",
        "    (folder / 'head.npz').write_bytes(bytes(1000))",
        "temporary_beside(Path(sys.argv[1])).write_bytes(bytes(1000))",
    ])  # fmt: skip
    arguments = [options.output, *map(str, places)]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)
    earlier = outputs / f".labels.csv.{'0123456789abcdef' * 2}.tmp"
    theirs = [outputs / f".other.csv.{'0123456789abcdef' * 2}.tmp", outputs / "labels.csv"]
    for path in (earlier, *theirs):
        path.write_bytes(bytes(1000))
        age(path)
    living = [temporary_in(place) for place in places] + [temporary_beside(outputs / "labels.csv")]
    for path in living:
        path.write_bytes(b"half of")
        age(path)

    gone = clean()

    assert len(gone) == len(places) + 2
    assert {kind for kind, _ in gone} == {"half-written"}
    assert all(path.exists() for path in (*living, *theirs))


def test_what_another_machine_writes_has_a_day(ready_storage):
    path = ready_storage.root / f".tmp-{OTHER_MACHINE}"
    path.touch()

    assert found() == []
    age(path, days=ABANDONED_AFTER_S / DAY_S + 0.1)
    assert found() == [("half-written", path.name)]


def test_damaged_shards_and_the_remains_of_deleted_runs_go(ready_storage, run):
    damaged = shards(ready_storage)[0]
    damaged.rename(damaged.with_suffix(".damaged"))
    late = ready_storage.run("deleted").path
    late.mkdir()
    write_whole(late / "predictions" / "00000001.parquet", b"late")
    mine = ready_storage.runs / "notes"
    mine.mkdir()
    write_whole(mine / "todo.txt", b"of a person")
    age(mine)
    assert ("remains", "deleted") not in found()
    age(late)

    assert clean() == [("damaged", f"{damaged.stem}.damaged"), ("remains", "deleted")]
    assert (mine / "todo.txt").exists()


def test_links_in_the_storage_are_not_followed(ready_storage, run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for name in ("bottlenecks/x/ab/old.arrow", ".tmp-" + OTHER_MACHINE, "weights/old.h5"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_bytes(b"of somebody else")
    (ready_storage.root / "bottlenecks" / "linked").symlink_to(elsewhere / "bottlenecks" / "x")
    (ready_storage.root / "weights").symlink_to(elsewhere / "weights")
    (ready_storage.root / "all").symlink_to(elsewhere)
    age(tmp_path)

    assert clean() == []
    assert len(all_files(elsewhere)) == 3


def test_a_storage_that_is_a_link_is_the_storage(ready_storage, run, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(ready_storage.root)
    monkeypatch.setenv("POETS_STORAGE", str(tmp_path / "link"))
    (ready_storage.runs / f".tmp-{OTHER_MACHINE}").touch()
    age(ready_storage.runs)

    assert clean() == [("half-written", f".tmp-{OTHER_MACHINE}")]


def test_an_interrupted_removal_is_finished_by_the_next(ready_storage, run, monkeypatch):
    shutil.rmtree(run.folder.path)
    age(ready_storage.root)
    settings = load_settings()
    findings = find_garbage(settings, 0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("orchestrator.cleaning.garbage.remove", interrupt)
        list(remove_garbage(settings, findings))

    left = find_garbage(settings, 0)

    assert len(left.garbage) == len(findings.garbage)
    list(remove_garbage(settings, left))
    assert find_garbage(settings, 0).garbage == []


def interrupt(path):
    raise KeyboardInterrupt


def test_bytes_are_those_that_come_free(ready_storage, run):
    shutil.rmtree(run.folder.path)
    backbone = ready_storage.backbone(BACKBONE_ID) / "backbone.tflite"
    os.link(backbone, ready_storage.root / "another-name")
    age(ready_storage.root)

    findings = find_garbage(load_settings(), 0)

    [found] = [one for one in findings.garbage if one.kind == "backbones"]
    assert found.files == 2
    assert found.bytes == (backbone.parent / "backbone.json").stat().st_size


def test_stacks_that_have_ended_go_and_those_in_use_stay(ready_storage, runtime):
    def make(name):
        stack = Stack(runtime / f"poets-{os.getuid()}-{name}")
        (stack.folder / "valkey").mkdir(parents=True, mode=0o700)
        stack.folder.chmod(0o700)
        for path in (stack.users, stack.alive, stack.starting, stack.folder / "valkey" / "log"):
            path.write_text("0123456789")
        age(stack.folder)
        return stack

    used, run_by, ended, recent = (make(digit * 10) for digit in "abcd")
    stranger = runtime / f"poets-{os.getuid()}-notes"
    stranger.mkdir()
    age(stranger)
    recent.users.touch()
    with used.users.open("r+") as users, run_by.alive.open("r+") as alive:
        assert try_lock(users, 1)
        assert try_lock(alive, 2)

        assert clean() == [("stacks", ended.folder.name)]

    assert {path.name for path in runtime.iterdir()} == {
        stranger.name, *(stack.folder.name for stack in (used, run_by, recent))
    }  # fmt: skip


def test_the_manifest_of_each_run_is_read_once(ready_storage, run, monkeypatch):
    for number in range(30):
        shutil.copytree(run.folder.path, ready_storage.runs / f"copy-{number}")
    read = []

    def list_shards(folder):
        read.append(folder.name)
        return set()

    monkeypatch.setattr(uses, "list_shards", list_shards)
    find_garbage(load_settings(), 0)

    assert len(read) == len(set(read)) == 31


def test_the_command_only_shows_until_it_is_told_to_delete(ready_storage, run):
    shutil.rmtree(run.folder.path)
    age(ready_storage.root)
    count, before = len(shards(ready_storage)), all_files(ready_storage.root)

    shown = invoke("gc", "--older-than", 10)
    listed = json.loads(invoke("gc", "--json").stdout)

    assert all_files(ready_storage.root) == before
    assert f"bottlenecks of no run      {count}" in shown.stdout
    assert "Nothing was deleted. `poets gc --yes --older-than 10" in shown.stderr
    assert {row["kind"] for row in listed["garbage"]} == {"bottlenecks", "backbones"}
    assert {row["deleted"] for row in listed["garbage"]} == {False}

    done = invoke("gc", "--delete")

    assert done.exit_code == 0
    assert "5 files" in done.stderr
    assert all_files(ready_storage.root) == [ready_storage.root / MARKER]
    assert "nothing that no run needs" in invoke("gc", "--yes").stderr
    assert Path(load_settings().storage).is_dir()
