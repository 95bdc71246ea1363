"""The summaries of a run where they are wanted, and the final test."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.exporting.codelab_files import examine_test, link_summaries
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.errors import StorageError
from workers.storage.layout import Storage
from workers.storage.making import make_storage


@pytest.fixture
def run(storage, tmp_path):
    return make_run(storage, make_data_set(tmp_path / "photos"))


@pytest.fixture
def tested(run):
    """A run with 20 test images, each fourth of them wrong, and one validation image."""
    wrong = [number % 4 == 0 for number in range(20)]
    rows = [
        {
            "path": f"{n}.jpg",
            "split": "test",
            "label": "blue",
            "predicted": "red" if bad else "blue",
        }
        for n, bad in enumerate(wrong)
    ]
    rows.append({"path": "v.jpg", "split": "validation", "label": "blue", "predicted": "red"})
    run.folder.model.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), run.folder.model / "predictions.parquet")
    return run


def test_the_final_test_is_of_all_test_images_and_of_no_others(tested):
    found = examine_test(tested, -1)

    assert (found["final_test_images"], found["final_test_accuracy"]) == (20, 0.75)
    wrong = [{"path": f"{number}.jpg", "predicted": "red"} for number in range(0, 20, 4)]
    assert found["misclassified"] == wrong


def test_a_sample_is_the_same_each_time_and_its_figures_agree(tested):
    found = examine_test(tested, 8)

    assert found == examine_test(tested, 8)
    assert found["final_test_images"] == 8
    assert found["final_test_accuracy"] == 1 - len(found["misclassified"]) / 8
    assert examine_test(tested, 500)["final_test_images"] == 20


def test_without_test_images_there_is_no_accuracy(run):
    run.folder.model.mkdir()
    none = pa.table(
        {name: pa.array([], pa.string()) for name in ("path", "split", "label", "predicted")}
    )
    pq.write_table(none, run.folder.model / "predictions.parquet")

    found = examine_test(run, -1)

    assert found == {
        "final_test_accuracy": None, "final_test_images": 0, "misclassified": [],
    }  # fmt: skip


def test_summaries_appear_where_they_are_wanted_and_old_ones_stay(run, tmp_path):
    wanted = tmp_path / "logs" / "mine"
    (wanted / "train").mkdir(parents=True)
    (wanted / "train" / "events").write_text("of the codelab")

    link = link_summaries(run.folder, wanted)
    (run.folder.summaries / "events").write_text("new")

    assert link == wanted / "run"
    assert (link / "events").read_text() == "new"
    assert (wanted / "train" / "events").read_text() == "of the codelab"


def test_storage_and_summaries_move_together(run, tmp_path):
    link_summaries(run.folder, tmp_path / "storage" / "logs")
    (run.folder.summaries / "events").write_text("new")

    (tmp_path / "storage").rename(tmp_path / "moved")

    assert (tmp_path / "moved" / "logs" / "run" / "events").read_text() == "new"


def test_a_run_of_this_name_in_another_storage_keeps_its_link(run, tmp_path):
    make_storage(tmp_path / "other")
    other = make_run(Storage(tmp_path / "other"), tmp_path / "photos")

    assert link_summaries(other.folder, tmp_path / "logs").name == "run"
    assert link_summaries(run.folder, tmp_path / "logs").name == "run-2"
    assert (tmp_path / "logs" / "run").samefile(other.folder.summaries)
    assert (tmp_path / "logs" / "run-2").samefile(run.folder.summaries)


def test_a_link_to_a_storage_that_is_gone_is_replaced(run, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "run").symlink_to(tmp_path / "gone")

    assert link_summaries(run.folder, tmp_path / "logs").samefile(run.folder.summaries)


def test_a_place_that_refuses_is_an_error_of_ours(run, tmp_path):
    (tmp_path / "logs").write_text("a file")

    with pytest.raises(StorageError, match="logs"):
        link_summaries(run.folder, tmp_path / "logs")
