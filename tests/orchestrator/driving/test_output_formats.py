"""The output of a labelling job: one row an image, in order, whole or not at all."""

import csv
import io
import json
import os

import pyarrow.parquet as pq
import pytest

from orchestrator.driving.output_formats import check_output, merge_predictions
from tests.builders.runs import make_plan
from workers.errors import OutputExistsError, RefusedError, ShardError, UsageError
from workers.storage.layout import Storage
from workers.storage.making import make_storage
from workers.storage.plan import LabellingOptions, Run
from workers.storage.predictions import Prediction, write_predictions

ROWS = [
    [
        Prediction("a,b.jpg", [("daisy", 0.9), ("roses", 0.1)]),
        Prediction("new\nline.jpg", error='bad "file"'),
    ],
    [Prediction("-rf.jpg", [("roses", 0.75), ("daisy", 0.25)], warning="damaged: half")],
]
HEADER = "path,status,label,score,label_2,score_2,error,model,warning"


@pytest.fixture
def job(tmp_path):
    storage = Storage(tmp_path)
    make_storage(storage.root)
    job = Run(storage, storage.run("job"), make_plan(name="job", images=3, batches=2))
    storage.runs.mkdir()
    job.folder.path.mkdir()
    for number, rows in enumerate(ROWS):
        write_predictions(job.folder.prediction_shard(number), rows, top_k=2, model="spring")
    return job


def merge(job, output, file_format="csv", overwrite=False, heartbeat=lambda: None):
    options = LabellingOptions("spring", str(output), file_format, 2, overwrite)
    return merge_predictions(job, options, heartbeat)


def test_csv_has_a_row_for_each_image_in_order(job, tmp_path):
    counts = merge(job, tmp_path / "labels.csv")

    with (tmp_path / "labels.csv").open(newline="") as file:
        assert file.readline().strip() == HEADER
        file.seek(0)
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["a,b.jpg", "new\nline.jpg", "-rf.jpg"]
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[1]["error"] == 'bad "file"'
    assert rows[1]["label"] == rows[1]["score_2"] == ""
    assert float(rows[2]["score"]) == 0.75
    assert [row["warning"] for row in rows] == ["", "", "damaged: half"]
    assert counts == {"ok": 2, "failed": 1}


def test_jsonl_and_parquet_hold_the_same_rows(job, tmp_path):
    merge(job, tmp_path / "labels.jsonl", "jsonl")
    merge(job, tmp_path / "labels.parquet", "parquet")

    lines = (tmp_path / "labels.jsonl").read_text().splitlines()
    table = pq.read_table(tmp_path / "labels.parquet")
    assert [json.loads(line) for line in lines] == table.to_pylist()
    assert table.schema.names == HEADER.split(",")


@pytest.mark.parametrize("file_format", ["csv", "excel", "jsonl", "parquet"])
def test_batches_of_a_worker_of_an_earlier_version_have_no_warning(job, tmp_path, file_format):
    shard = job.folder.prediction_shard(0)
    pq.write_table(pq.read_table(shard).drop_columns("warning"), shard)

    merge(job, tmp_path / "labels", file_format)

    content = (tmp_path / "labels").read_bytes()
    if file_format == "parquet":
        column = pq.read_table(tmp_path / "labels").column("warning").to_pylist()
        assert column == [None, None, "damaged: half"]
    else:
        assert content.count(b"damaged: half") == 1
        assert content.count(b"warning") == (3 if file_format == "jsonl" else 1)


def test_no_cell_of_csv_for_spreadsheets_is_a_formula_and_its_letters_are_known(job, tmp_path):
    formulas = ["=1+1", "+1", "-5.jpg", "@sum", "\t=1", "\r=1", "\n=1", "雛菊", "a=b", "'", ""]
    rows = [Prediction(text, [(text, -0.5), ("roses", 0.25)]) for text in formulas]
    write_predictions(job.folder.prediction_shard(0), rows, top_k=2, model="=model()")

    merge(job, tmp_path / "labels.csv", "excel")

    content = (tmp_path / "labels.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfpath,")
    assert content.count(b"path,status") == 1
    found = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    expected = [f"'{text}" for text in formulas[:7]] + formulas[7:]
    assert [row["path"] for row in found] == [*expected, "'-rf.jpg"]
    assert [row["label"] for row in found] == [*expected, "roses"]
    assert {row["model"] for row in found} == {"'=model()", "spring"}
    assert float(found[0]["score"]) == -0.5


def test_csv_is_exact_without_being_asked_for_spreadsheets(job, tmp_path):
    write_predictions(
        job.folder.prediction_shard(0), [Prediction("=1+1", [("@x", 1.0)])], top_k=2, model="m"
    )

    merge(job, tmp_path / "labels.csv")

    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert (row["path"], row["label"]) == ("=1+1", "@x")


def test_a_file_that_has_appeared_meanwhile_is_not_overwritten(job, tmp_path):
    output = tmp_path / "labels.csv"
    output.write_text("mine")

    with pytest.raises(RefusedError, match="not overwritten"):
        merge(job, output)
    assert output.read_text() == "mine"
    assert list(tmp_path.glob(".labels*")) == []


@pytest.mark.parametrize("file_format", ["csv", "excel", "jsonl", "parquet"])
def test_an_output_that_this_job_has_written_already_is_a_success(job, tmp_path, file_format):
    """A crash came before result.json, or another process drives the job too."""
    output = tmp_path / f"labels.{file_format}"
    first = merge(job, output, file_format)
    inode = output.stat().st_ino

    second = merge(job, output, file_format)

    assert first == second == {"ok": 2, "failed": 1}
    assert output.stat().st_ino == inode
    assert list(tmp_path.glob(".labels*")) == []


def test_each_batch_shows_that_the_work_goes_on(job, tmp_path):
    beats = []

    merge(job, tmp_path / "labels.csv", heartbeat=lambda: beats.append(True))

    assert len(beats) == 2


def test_force_overwrites(job, tmp_path):
    (tmp_path / "labels.csv").write_text("mine")

    merge(job, tmp_path / "labels.csv", overwrite=True)

    assert (tmp_path / "labels.csv").read_text().startswith(HEADER)


def test_a_damaged_prediction_shard_leaves_no_half_output_and_is_set_aside(job, tmp_path):
    job.folder.prediction_shard(1).write_bytes(b"PAR1 damaged")

    with pytest.raises(ShardError):
        merge(job, tmp_path / "labels.csv")
    assert not job.folder.prediction_shard(1).exists()
    assert not (tmp_path / "labels.csv").exists()
    assert list(tmp_path.glob(".labels*")) == []


def test_an_output_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "there.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(OutputExistsError):
        check_output(tmp_path / "there.csv", overwrite=False)
    with pytest.raises(RefusedError, match="no folder"):
        check_output(tmp_path / "nowhere" / "labels.csv", overwrite=False)
    with pytest.raises(RefusedError, match="is a folder"):
        check_output(tmp_path / "folder.csv", overwrite=True)
    check_output(tmp_path / "new.csv", overwrite=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "there.csv"]


def test_a_name_that_is_not_utf8_is_refused_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="not UTF-8"):
        check_output(tmp_path / os.fsdecode(b"o\xff.csv"), overwrite=False)


def test_where_there_are_no_hard_links_the_output_is_written_all_the_same(
    job, tmp_path, monkeypatch
):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "mine.csv").write_text("mine")

    merge(job, tmp_path / "labels.csv")

    assert (tmp_path / "labels.csv").read_text().startswith(HEADER)
    with pytest.raises(RefusedError, match="not overwritten"):
        merge(job, tmp_path / "mine.csv")
