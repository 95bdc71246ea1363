"""Prediction shards and the ranking of labels."""

import errno

import numpy as np
import pyarrow.parquet as pq
import pytest

from workers.errors import ShardError, StorageError
from workers.storage.predictions import (
    Prediction,
    prediction_schema,
    rank_labels,
    read_predictions,
    write_predictions,
)

ROWS = [
    Prediction("b.jpg", [("owl", 0.75), ("cat", 0.25)]),
    Prediction("a\n.jpg", error="empty file"),
    Prediction("c.jpg", [("cat", 1.0)], is_unsure=True, warning="damaged: half"),
]


def test_rows_are_read_as_they_were_written_in_their_order(tmp_path):
    write_predictions(tmp_path / "p.parquet", ROWS, top_k=2, model="m")

    found = pq.read_table(tmp_path / "p.parquet")

    assert found.schema.equals(prediction_schema(2))
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("b.jpg", "ok", "owl", 0.75, "cat", 0.25, None, "m", None),
        ("a\n.jpg", "failed", None, None, None, None, "empty file", "m", None),
        ("c.jpg", "unsure", "cat", 1.0, None, None, None, "m", "damaged: half"),
    ]


def test_rows_of_an_earlier_version_have_no_warning(tmp_path):
    write_predictions(tmp_path / "p.parquet", ROWS, top_k=2, model="m")
    earlier = pq.read_table(tmp_path / "p.parquet").drop_columns("warning")
    pq.write_table(earlier, tmp_path / "p.parquet")

    found = read_predictions(tmp_path / "p.parquet")

    assert found.schema.equals(prediction_schema(2))
    assert found.column("warning").to_pylist() == [None] * 3
    assert read_predictions(tmp_path / "p.parquet", ["path"]).column_names == ["path"]


def test_a_storage_that_refuses_is_no_damage(tmp_path, monkeypatch):
    def refuse(path, columns):
        raise OSError(errno.EIO, "Input/output error")

    write_predictions(tmp_path / "p.parquet", ROWS, top_k=2, model="m")
    monkeypatch.setattr(pq, "read_table", refuse)

    with pytest.raises(StorageError, match="Input/output error"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"PAR1 half of it PAR1"])
def test_what_is_missing_or_damaged_is_said_to_be_so(tmp_path, content):
    if content is not None:
        (tmp_path / "p.parquet").write_bytes(content)

    with pytest.raises(ShardError, match="damaged or missing"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("top_k", "ranks"),
    [(1, "label score"), (3, "label score label_2 score_2 label_3 score_3")],
)
def test_columns_are_named_by_rank(top_k, ranks):
    names = prediction_schema(top_k).names

    assert names == ["path", "status", *ranks.split(), "error", "model", "warning"]


def test_a_storage_that_refuses_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StorageError):
        write_predictions(tmp_path / "file" / "p.parquet", ROWS, top_k=1, model="m")


def test_the_best_labels_come_first():
    ranked = rank_labels(np.array([0.2, 0.5, 0.3], np.float32), ("a", "b", "c"), 2)

    assert ranked == [("b", 0.5), ("c", pytest.approx(0.3))]


def test_equal_scores_keep_the_order_of_the_labels():
    ranked = rank_labels(np.array([0.25, 0.25, 0.25, 0.25], np.float32), "wxyz", 4)

    assert [label for label, _ in ranked] == ["w", "x", "y", "z"]


def test_more_ranks_than_labels_give_all_labels():
    assert len(rank_labels(np.array([0.4, 0.6], np.float32), ("a", "b"), 5)) == 2


def test_scores_have_six_digits():
    ((_, score),) = rank_labels(np.array([1 / 3], np.float32), ("a",), 1)

    assert score == 0.333333
