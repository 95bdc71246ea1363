"""What TensorBoard is given to read: the summaries of runs, and nothing else of them."""

import os

import pytest

from orchestrator.dashboards.tensorboard import check_summaries, link_summaries
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.errors import RunError


@pytest.fixture
def links(tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


def with_summaries(storage, *names):
    for name in names:
        (storage.run(name).summaries / "train").mkdir(parents=True)


def test_runs_have_their_own_names(storage, links):
    with_summaries(storage, "spring", "summer")
    (storage.runs / "untrained").mkdir()
    (storage.runs / ".tmp-1" / "summaries").mkdir(parents=True)

    link_summaries(storage, None, links)

    assert sorted(os.listdir(links)) == ["spring", "summer"]
    assert os.listdir(links / "spring") == ["train"]


def test_runs_that_come_and_go_are_followed(storage, links):
    with_summaries(storage, "spring")
    link_summaries(storage, None, links)
    with_summaries(storage, "summer")
    storage.run("spring").path.rename(storage.root / "elsewhere")

    link_summaries(storage, None, links)

    assert os.listdir(links) == ["summer"]
    assert (storage.root / "elsewhere" / "summaries" / "train").is_dir()


def test_one_run_can_be_picked(storage, links):
    with_summaries(storage, "spring", "summer")

    link_summaries(storage, "summer", links)

    assert os.listdir(links) == ["summer"]


def test_a_storage_without_runs_is_empty(storage, links):
    link_summaries(storage, None, links)

    assert os.listdir(links) == []


def test_a_run_that_has_not_been_trained_yet_is_refused(ready_storage, tmp_path):
    run = make_run(ready_storage, make_data_set(tmp_path / "photos"))

    with pytest.raises(RunError, match="its training has not begun"):
        check_summaries(run.folder)

    run.folder.summaries.mkdir()
    check_summaries(run.folder)
