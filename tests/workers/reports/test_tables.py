"""The tables of a model: what they list, and that reading them gives the results again."""

import pytest

from tests.builders.reports import make_prediction, make_results, read_table
from workers.errors import ModelError, StorageError
from workers.reports.results import read_tables, write_tables

RESULTS = make_results(
    ("cat", "dog"),
    [
        make_prediction("v.jpg", "validation", "cat", "dog", 0.6),
        make_prediction("1.jpg", "test", "cat", "dog", 0.7),
        make_prediction("2.jpg", "test", "cat", "cat", 0.9),
        make_prediction("3.jpg", "test", "dog", "cat", 0.95),
    ],
    suspects=[("1.jpg", "test", "cat", "dog", 1.0, "looks, 'odd'")],
    duplicates=[("1.jpg", "2.jpg", "test", "training", "cat", "dog", 0.9991)],
    unreadable=[("a\rb.jpg", "empty file")],
)


@pytest.fixture
def model(tmp_path):
    for name, content in write_tables(RESULTS).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_most_confident_mistakes_of_each_split_come_first(model):
    rows = read_table(model / "mistakes.csv")

    assert [list(row.values()) for row in rows] == [
        ["validation", "v.jpg", "cat", "dog", "0.6"],
        ["test", "3.jpg", "dog", "cat", "0.95"],
        ["test", "1.jpg", "cat", "dog", "0.7"],
    ]


def test_the_curve_has_a_column_for_each_figure_of_a_step(model):
    first = read_table(model / "curve.csv")[0]

    assert first == {
        "step": "0",
        "train_accuracy": "0.0",
        "train_cross_entropy": "1.0",
        "validation_accuracy": "0.0",
        "validation_cross_entropy": "1.2",
    }


def test_the_results_are_read_back_as_they_were(model):
    assert read_tables(model) == RESULTS


@pytest.mark.parametrize(
    "name, content",
    [
        ("evaluation.json", b"{"),
        ("evaluation.json", b"[]"),
        ("predictions.parquet", b"PAR1"),
        ("suspects.csv", b"path,split\na,b\n"),
        ("duplicates.csv", b"\xff\n\xff\n"),
        ("curve.csv", b"step\nmany\n"),
    ],
)
def test_a_damaged_table_is_refused(model, name, content):
    (model / name).write_bytes(content)

    with pytest.raises(ModelError, match=r"The reports of model .* are damaged"):
        read_tables(model)


def test_a_table_that_is_gone_is_an_error_of_the_storage(model):
    (model / "suspects.csv").unlink()

    with pytest.raises(StorageError, match="Cannot read"):
        read_tables(model)
