"""Runs are deleted by name, but never one that somebody drives, works on, or still needs."""

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from cli.main import main
from orchestrator.dataset.scan import scan_folder
from orchestrator.driving.broker import DriverLock
from orchestrator.driving.coordinator import ALIVE_KEY
from orchestrator.planning.plan import plan_again, plan_labelling
from orchestrator.runs import cancel_run
from tests.builders.backbones import BACKBONE
from tests.builders.datasets import make_data_set
from tests.builders.programs import invoke
from tests.builders.runs import make_run, pretend_run, trained
from workers.items import Item
from workers.leases import FENCE_S, Keys, Lease, connect
from workers.storage.layout import Storage
from workers.storage.plan import LabellingOptions, Run


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


@pytest.fixture
def run(storage, photos):
    """A run that has ended."""
    run = make_run(storage, photos)
    pretend_run(run)
    run.folder.result.touch()
    return run


@pytest.fixture
def client(broker_url):
    return connect(broker_url)


def label(run: Run, photos, tmp_path) -> Run:
    return plan_labelling(
        run.storage,
        scan_folder(photos),
        BACKBONE,
        LabellingOptions(run.name, str(tmp_path / "labels.csv"), "csv", 2),
        run.folder.model,
        name="job",
        batch_size=8,
    )


def shards(storage: Storage):
    return sorted(storage.root.glob("bottlenecks/*/*/*.arrow"))


def test_a_run_goes_and_what_others_may_use_stays(storage, run, photos, tmp_path):
    pictures = sorted(photos.rglob("*.*"))
    before = shards(storage)

    result = invoke("delete", "run", "--yes")

    assert result.exit_code == 0
    assert "Run run is deleted." in result.stderr
    assert list(storage.runs.iterdir()) == []
    assert shards(storage) == before
    assert sorted(photos.rglob("*.*")) == pictures


def test_what_a_run_has_used_counts_as_used_until_it_was_deleted(storage, run):
    for shard in shards(storage):
        os.utime(shard, (1, 1))

    assert invoke("delete", "run", "--yes").exit_code == 0

    assert all(time.time() - shard.stat().st_mtime < 3600 for shard in shards(storage))


def test_hints_of_a_deleted_run_go_and_its_trainer_may_not_commit_into_the_next(run, client):
    keys = Keys("run")
    for item in ("0", "1", "train"):
        client.set(keys.fence(item), 3, ex=FENCE_S)
    client.hset(keys.starts, "0", 2)

    invoke("delete", "run", "--yes")

    assert set(client.scan_iter("poets:run:*")) == {keys.fence("train")}
    with Lease(client, "run", Item.parse("train")) as later:
        assert later.token == 4


@pytest.mark.parametrize("how", ["cancelled", "failed", "stopped", "stalled", "damaged"])
def test_a_run_that_nobody_drives_can_be_deleted(storage, photos, client, how):
    run = make_run(storage, photos)
    if how == "cancelled":
        cancel_run(run)
    elif how == "failed":
        run.folder.failure.write_text(json.dumps({"reason": "bad weights"}))
    elif how == "stopped":
        run.folder.paused.touch()
    elif how == "stalled":
        os.utime(run.folder.plan, (1, 1))
    else:
        run.folder.plan.write_bytes(b"damaged")

    result = invoke("delete", "run", "--yes")

    assert result.exit_code == 0, result.stderr
    assert list(storage.runs.iterdir()) == []


@pytest.mark.parametrize("who", ["driver", "worker", "coordinator", "starting", "unknown"])
def test_a_run_that_somebody_drives_or_works_on_is_refused(
    storage, photos, client, who, monkeypatch
):
    run = make_run(storage, photos)
    if who == "driver":
        run.folder.result.touch()
        assert DriverLock(client, "run").take()
    elif who == "worker":
        cancel_run(run)
        client.set(Keys("run").lease("0"), 0, px=60_000)
    elif who == "coordinator":
        run.folder.detached.touch()
        client.set(ALIVE_KEY, 1, ex=60)
    elif who == "unknown":
        monkeypatch.setenv("POETS_BROKER_URL", "redis://127.0.0.1:1/0")

    result = invoke("delete", "run", "--yes")

    assert result.exit_code == 1
    assert "Run 'run'" in result.stderr or "run 'run'" in result.stderr
    assert "poets cancel run" in result.stderr
    assert run.folder.manifest.exists()


def test_a_run_from_which_an_unfinished_one_was_made_is_refused(storage, run, photos):
    child = plan_again(run, BACKBONE, run.plan.training, name="child")
    child.folder.paused.touch()

    refused = invoke("delete", "run", "--yes")
    both = invoke("delete", "run", "child", "--yes")

    assert refused.exit_code == 1
    assert "run 'child' was made from it and has not ended" in refused.stderr
    assert both.exit_code == 0
    assert list(storage.runs.iterdir()) == []


def test_a_labelling_job_needs_nothing_of_a_run_but_while_it_is_under_way(
    ready_storage, photos, tmp_path
):
    run = trained(ready_storage, photos)
    run.folder.result.touch()
    job = label(run, photos, tmp_path)
    job.folder.paused.touch()
    (tmp_path / "labels.csv").touch()

    refused = invoke("delete", "run", "--yes")
    job.folder.result.touch()
    done = invoke("delete", "run", "--yes")
    job_done = invoke("delete", "job", "--yes")

    assert (refused.exit_code, done.exit_code, job_done.exit_code) == (1, 0, 0)
    assert (tmp_path / "labels.csv").exists()


def test_all_names_are_checked_before_any_run_goes(storage, run):
    result = invoke("delete", "run", "nothere", "--yes")

    assert result.exit_code == 1
    assert "no run 'nothere'" in result.stderr
    assert run.folder.manifest.exists()
    assert invoke("delete", "../photos", "--yes").exit_code == 2


def test_without_a_terminal_nothing_is_deleted_unasked(run):
    result = invoke("delete", "run")

    assert result.exit_code == 2
    assert "Give --yes" in result.stderr
    assert run.folder.manifest.exists()


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_on_a_terminal_it_asks(run, monkeypatch, answer):
    monkeypatch.setattr("cli.commands.cleaning._has_terminal", lambda: True)

    result = CliRunner().invoke(main, ["delete", "run"], input=f"{answer}\n")

    assert "Delete this run?" in result.stderr
    assert result.exit_code == (0 if answer == "y" else 1)
    assert run.folder.manifest.exists() == (answer != "y")


def test_a_link_among_the_runs_is_not_followed(storage, run, tmp_path):
    shutil.move(run.folder.path, tmp_path / "elsewhere")
    run.folder.path.symlink_to(tmp_path / "elsewhere")

    result = invoke("delete", "run", "--yes")

    assert result.exit_code == 1
    assert "is a link" in result.stderr
    assert (tmp_path / "elsewhere" / "manifest.parquet").exists()


def test_a_deletion_that_is_cut_short_leaves_no_half_of_a_run(storage, run, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("orchestrator.cleaning.delete.remove", refuse)

    result = invoke("delete", "run", "--yes")

    assert result.exit_code == 1
    assert "Permission denied" in result.stderr
    assert [path.name[:5] for path in storage.runs.iterdir()] == [".tmp-"]
    assert "No runs" in invoke("runs").stderr


def test_json_says_what_was_deleted(run):
    facts = json.loads(invoke("delete", "run", "--yes", "--json").stdout)

    assert facts["deleted"][0]["run"] == "run"
    assert facts["deleted"][0]["files"] == 3
    assert facts["deleted"][0]["bytes"] > 1000
