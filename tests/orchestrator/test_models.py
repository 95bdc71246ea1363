"""Which model is the latest, and which one a folder gets: never one by accident."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.jobs.submit import LabellingRequest, plan_classification, plan_retraining
from orchestrator.models import choose_model, find_model
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set
from tests.builders.reports import card_of
from tests.builders.runs import compute_run, make_plan, train, trained
from workers.errors import (
    AmbiguousModelError,
    ModelError,
    NoModelError,
    NoModelYetError,
    RunNameError,
)
from workers.heads.head import Head
from workers.heads.model_folder import copy_model, read_card, save_model
from workers.settings import Settings
from workers.storage.plan import LabellingOptions, TrainingOptions

FLOWERS, TRASH, HOLIDAY = "/photos/flowers", "/photos/trash", "/photos/holiday"


def on(day):
    return f"2026-03-{day:02d}T12:00:00.000+00:00"


@pytest.fixture
def add_model(storage):
    """Add a run that was planned on one day and trained its model on another."""

    def add(name, planned, root=FLOWERS, finished=None, labels=("blue", "red"), **options):
        plan = make_plan(
            name=name,
            created=on(planned),
            root=root,
            labels=labels,
            training=TrainingOptions(**options),
        )
        folder = storage.run(name)
        folder.path.mkdir(parents=True)
        folder.plan.write_bytes(plan.to_json())
        card = replace(card_of(plan), created=on(finished or planned))
        head = Head(np.zeros((256, len(labels)), np.float32), np.zeros(len(labels), np.float32))
        backbone = storage.root / "backbone.tflite"
        backbone.touch()
        save_model(folder.model, card, head, backbone, {})
        folder.result.write_text("{}")
        return folder

    return add


@pytest.fixture
def add_job(storage):
    """Add a job that labelled a folder with a model."""

    def add(name, planned, model, root=HOLIDAY):
        options = LabellingOptions(model.name, "/labels.csv", "csv", 1)
        plan = make_plan(name=name, created=on(planned), root=root, labelling=options)
        folder = storage.run(name)
        folder.path.mkdir(parents=True)
        folder.plan.write_bytes(plan.to_json())
        copy_model(model.model, folder.model)

    return add


@pytest.fixture
def choose(storage):
    """Return the names of the model for a folder, of the one before, and of the one left alone."""

    def choose(reference="latest", folder=HOLIDAY):
        found = choose_model(storage, reference, folder)
        passed = found.passed_over
        before = found.before and found.before.name
        return found.model.card.name, before, passed and passed.card.name

    return choose


def test_the_latest_is_the_run_that_was_asked_for_last_not_the_one_that_finished_last(
    storage, add_model
):
    """An older run was resumed, or continued in the background for days."""
    add_model("old", planned=1, finished=9)
    newest = add_model("new", planned=2, finished=3)

    assert find_model(storage, "latest") == newest.model


def test_what_nobody_has_chosen_is_never_the_latest(storage, add_model, add_job):
    good = add_model("good", planned=1)
    add_model("sweep.001", planned=2, evaluate_test=False)
    for marker in ("cancelled", "paused", "failed.json"):
        stopped = add_model(marker.removesuffix(".json"), planned=3)
        stopped.result.unlink()
        (stopped.path / marker).touch()
    (add_model("damaged", planned=4).model / "model.json").write_text("{}")
    add_model("unreadable", planned=5).plan.write_text("{}")
    shutil.rmtree(add_model("deleted", planned=6).path)
    add_job("holiday-labels-1", 7, good)

    assert find_model(storage, "latest") == good.model


def test_without_a_model_that_somebody_chose_there_is_no_latest(storage, add_model):
    add_model("sweep.001", planned=2, evaluate_test=False)

    with pytest.raises(NoModelError):
        find_model(storage, "latest")


def test_a_folder_keeps_to_the_photographs_of_the_model_that_labelled_it(
    add_model, add_job, choose
):
    """Even where the labels are the same."""
    add_job("j-1", 2, add_model("flowers-1", planned=1))
    add_model("trash-1", planned=3, root=TRASH)

    assert choose() == ("flowers-1", None, "trash-1")
    assert choose(folder="/elsewhere") == ("trash-1", None, None)


def test_a_newer_model_of_the_same_photographs_is_taken_and_the_change_is_told(
    add_model, add_job, choose
):
    add_job("j-1", 2, add_model("flowers-1", planned=1))
    add_model("flowers-1-1", planned=3)

    assert choose() == ("flowers-1-1", "flowers-1", None)
    add_job("j-2", 4, add_model("flowers-2", planned=4))
    assert choose() == ("flowers-2", None, None)


def test_several_labels_an_image_are_another_kind_of_model_of_the_same_photographs(
    add_model, add_job, choose
):
    add_job("j-1", 2, add_model("flowers-1", planned=1))
    add_model("tags-1", planned=3, multi_label=True)

    assert choose() == ("flowers-1", None, "tags-1")


def test_the_last_job_counts_and_a_model_that_was_named_stays(add_model, add_job, choose):
    flowers, trash = add_model("flowers-1", planned=1), add_model("trash-1", planned=2, root=TRASH)
    add_job("j-2", 5, flowers)
    add_job("j-1", 4, trash)

    assert choose() == ("flowers-1", None, "trash-1")
    add_job("j-3", 6, trash)
    assert choose() == ("trash-1", None, None)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_where_the_model_of_the_last_job_was_deleted_the_change_is_told(
    add_model, add_job, choose, is_replaced
):
    flowers = add_model("flowers-1", planned=1)
    add_job("j-1", 2, flowers)
    add_model("trash-1", planned=3, root=TRASH)
    shutil.rmtree(flowers.path)
    if is_replaced:  # by another run of its name
        add_model("flowers-1", planned=2, root="/photos/others")

    assert choose() == ("trash-1", "flowers-1", None)


def test_where_the_model_of_the_last_job_was_deleted_one_with_its_labels_is_taken(
    add_model, add_job, choose
):
    add_model("flowers-1", planned=1)
    deleted = add_model("flowers-2", planned=2)
    add_job("j-1", 3, deleted)
    add_model("trash-1", planned=4, root=TRASH, labels=("paper", "tin"))
    shutil.rmtree(deleted.path)

    assert choose() == ("flowers-1", "flowers-2", "trash-1")


def test_a_setting_that_names_another_model_than_last_time_is_told(add_model, add_job, choose):
    add_job("j-1", 2, add_model("flowers-1", planned=1))
    add_model("trash-1", planned=3, root=TRASH)

    assert choose("trash-1") == ("trash-1", "flowers-1", None)
    assert choose("flowers-1") == ("flowers-1", None, None)


def test_a_run_and_another_model_folder_of_one_name_are_told_apart(
    storage, add_model, tmp_path, monkeypatch
):
    spring = add_model("spring", planned=1)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(spring.model, "spring")
    assert find_model(storage, "spring") == spring.model  # an export of the same model

    shutil.rmtree("spring")
    shutil.copytree(add_model("other", planned=2).model, "spring")
    with pytest.raises(AmbiguousModelError, match="'spring' is a run, and a model folder here"):
        find_model(storage, "spring")
    assert find_model(storage, "./spring").samefile("spring")
    assert find_model(storage, str(spring.path)) == spring.model

    shutil.rmtree(spring.model)
    with pytest.raises(ModelError, match="'spring' is a run"):
        find_model(storage, "spring")
    shutil.rmtree("spring")
    with pytest.raises(NoModelYetError):
        find_model(storage, "spring")


def test_no_run_can_be_called_latest(storage):
    from orchestrator.planning.plan import check_name

    with pytest.raises(RunNameError, match="latest"):
        check_name(storage, "latest")


def test_a_job_names_its_model_first_and_follows_the_photographs(ready_storage, tmp_path):
    """With real models: trained, trained again, and one of other photographs."""
    settings = Settings(ready_storage.root)
    flowers, others = make_data_set(tmp_path / "flowers"), make_data_set(tmp_path / "others")

    def finish(run):
        run.folder.result.write_text("{}")
        return run

    def plan(model=None, environment=None):
        told = []
        request = LabellingRequest(
            flowers / "red", model, tmp_path / "labels.csv", "csv", 1, overwrite=True
        )
        with_model = replace(settings, model=environment)
        job = plan_classification(with_model, request, ignore, told.append)
        [choice] = told
        assert read_card(job.folder.model).name == choice.model.card.name
        return (
            choice.model.card.name,
            choice.before and choice.before.name,
            choice.passed_over and choice.passed_over.card.name,
        )

    finish(trained(ready_storage, flowers, name="first"))
    assert plan() == ("first", None, None)
    finish(trained(ready_storage, others, name="others"))
    assert plan() == ("first", None, "others")
    again = plan_retraining(
        settings, "first", {"seed": 3}, name="again", detach=False, on_progress=ignore
    )
    compute_run(again)
    train(again)
    again.folder.paused.touch()
    assert plan() == ("first", None, "others")  # it was stopped before its result
    finish(again)
    assert plan() == ("again", "first", None)
    finish(trained(ready_storage, others, name="newest"))
    assert plan("latest") == ("again", None, "newest")
    assert plan("others") == ("others", None, None)
    assert plan(environment="first") == ("first", "others", None)
    assert plan("again", environment="first") == ("again", None, None)
