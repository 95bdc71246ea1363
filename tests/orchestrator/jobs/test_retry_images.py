"""The plan of a retry: what failed is new work, and nothing else is."""

import os
from dataclasses import replace

import pytest

from orchestrator.bad_images import find_bad_images
from orchestrator.dataset.scan import scan_folder
from orchestrator.driving.result import finish_run
from orchestrator.jobs.retry_images import plan_retry
from orchestrator.planning.plan import plan_labelling
from tests.builders.backbones import BACKBONE
from tests.builders.datasets import make_data_set
from tests.builders.runs import images_of, make_run, pretend_run, pretend_with_failures
from workers.errors import DatasetError, RefusedError, UnfinishedRunError
from workers.heads.model_folder import MODEL_FILES
from workers.settings import load_settings
from workers.storage.plan import LabellingOptions
from workers.storage.predictions import Prediction, write_predictions


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=4)


@pytest.fixture
def run(storage, photos):
    """A run that has finished, with two images that could not be decoded."""
    run = make_run(storage, photos, "spring", batch_size=4)
    pretend_with_failures(run, 0, 1)
    run.folder.result.write_text("{}")
    return run


def retry(run="spring", name=None):
    return plan_retry(load_settings(), run, name=name, detach=False, on_progress=lambda _: None)


def new_work(run):
    return [image.path for image in images_of(run) if not image.is_cached]


def test_only_what_failed_is_done_again_even_if_its_file_is_as_it_was(storage, run):
    new = retry()

    plan, earlier = new.plan, run.plan
    assert new_work(new) == ["blue/002.jpg", "red/001.jpg"]
    assert (plan.images, plan.cached, plan.retried, plan.parent) == (8, 6, 2, "spring")
    assert plan.training == earlier.training
    assert [(one.path, one.label, one.split) for one in images_of(new)] == [
        (one.path, one.label, one.split) for one in images_of(run)
    ]
    # In a shard that is not there yet, or nothing would be tried.
    own = {image.shard for image in images_of(new) if not image.is_cached}
    assert not any(storage.shard(plan.backbone_id, shard).exists() for shard in own)


def test_a_second_retry_does_not_take_the_failures_of_the_first(storage, run):
    first = retry()
    pretend_with_failures(first, *range(first.plan.batches))
    first.folder.result.write_text("{}")

    again = retry(first.name)

    assert (first.name, again.name) == ("spring-retry-1", "spring-retry-2")
    assert new_work(again) == ["blue/002.jpg", "red/001.jpg"]
    assert {i.shard for i in images_of(again) if not i.is_cached}.isdisjoint(
        {i.shard for i in images_of(first)}
    )


def test_what_could_be_read_at_last_is_what_later_runs_take(storage, run, photos):
    pretend_run(retry())

    later = make_run(storage, photos, "later")

    assert later.plan.cached == 8
    assert list(find_bad_images(later)) == []


def test_a_file_that_was_mended_is_planned_as_it_is_now(run, photos):
    mended = photos / "red" / "001.jpg"
    mended.write_bytes((photos / "red" / "000.jpg").read_bytes() + b"\0")
    (photos / "blue" / "002.jpg").unlink()
    old = {image.path: image for image in images_of(run)}

    new = {image.path: image for image in images_of(retry())}

    assert new["red/001.jpg"].size == os.stat(mended).st_size
    # One that is gone fails once more, with that reason.
    assert new["blue/002.jpg"].version == old["blue/002.jpg"].version
    assert not new["blue/002.jpg"].is_cached


def test_a_file_that_was_replaced_by_a_known_one_is_not_computed(run, photos):
    good, bad = photos / "red" / "000.jpg", photos / "red" / "001.jpg"
    bad.write_bytes(good.read_bytes())
    os.utime(bad, ns=(good.stat().st_atime_ns, good.stat().st_mtime_ns))

    assert new_work(retry()) == ["blue/002.jpg"]


def test_nothing_failed_is_nothing_to_do(storage, photos):
    run = make_run(storage, photos, "spring")
    pretend_run(run)
    run.folder.result.write_text("{}")

    assert retry() is None
    assert [path.name for path in storage.runs.iterdir()] == ["spring"]


def test_a_run_that_has_not_ended_is_to_be_resumed_first(storage, run):
    run.folder.result.unlink()
    with pytest.raises(UnfinishedRunError, match="'spring' has not ended"):
        retry()

    run.folder.failure.write_text('{"reason": "no image of red could be read"}')

    assert retry().plan.retried == 2


def test_a_data_set_that_is_away_is_said_at_once(run, photos):
    photos.rename(photos.with_name("moved"))

    with pytest.raises(DatasetError, match="is not there"):
        retry()


@pytest.fixture
def job(storage, photos, tmp_path):
    """A labelling job of one batch that has finished; one image failed."""
    output = tmp_path / "labels.csv"
    job = plan_labelling(
        storage,
        scan_folder(photos),
        BACKBONE,
        LabellingOptions("spring", str(output), "csv", 1),
        fill_model(tmp_path / "model"),
        name="job",
        batch_size=100,
    )
    rows = [Prediction(image.path, [("red", 0.9)]) for image in images_of(job)]
    rows[2] = replace(rows[2], ranked=(), error="empty file")
    write_predictions(job.folder.prediction_shard(0), rows, top_k=1, model="spring")
    finish_run(job, lambda: None)
    return job


def fill_model(folder):
    folder.mkdir(parents=True)
    for name in MODEL_FILES:
        (folder / name).write_text(name)
    return folder


def test_a_job_is_done_again_into_the_same_output(storage, job, tmp_path):
    new = retry("job")

    plan = new.plan
    assert (new.name, plan.retried) == ("job-retry-1", 1)
    assert plan.labelling == replace(job.plan.labelling, overwrite=True)
    assert (new.folder.model / "head.npz").read_text() == "head.npz"
    assert [path.name for path in tmp_path.glob(".labels*")] == []


def test_an_output_that_somebody_has_worked_on_is_not_overwritten(job, tmp_path):
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("mine\n")

    with pytest.raises(RefusedError, match="Move it away"):
        retry("job")

    (tmp_path / "labels.csv").unlink()
    assert retry("job") is not None
