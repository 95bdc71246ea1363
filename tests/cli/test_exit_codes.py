"""Exit codes: 2 for flags and arguments that cannot work, 1 for what the machine refuses."""

import socket

import pytest

from tests.builders.datasets import make_data_set
from tests.builders.programs import invoke


@pytest.fixture
def here(tmp_path, monkeypatch):
    make_data_set(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "labels.csv").write_text("x")
    monkeypatch.chdir(tmp_path)


WRONG_USAGE = [
    "nonsense",
    "--nonsense",
    "submit-dataset",
    "submit-dataset photos photos",
    "submit-dataset photos --nonsense",
    "submit-dataset photos --testing-percentage 1",
    "submit-dataset photos --testing-percentage 95",
    "submit-dataset photos --architecture nonsense",
    "submit-dataset photos --steps 0",
    "submit-dataset photos --steps 9 --solver lbfgs",
    "submit-dataset photos --variants 3",
    "submit-dataset photos --target-precision 100%",
    "submit-dataset photos --name a/b",
    "submit-dataset photos --storage s3://bucket",
    "check photos --splits nonsense",
    "classify-dir photos --output labels.xls",
    "classify-dir photos --excel --output x.parquet",
    "classify",
    "show a/b",
    "train photos-1 --learning-rate nan",
    "sweep photos-1",
    "fetch-weights nonsense",
    "bench photos --architecture nonsense",
    "retrain",
    "label-image --image file --input-std 0",
    "export latest",
    "worker --queues nonsense",
    "flower --address 0.0.0.0",
    "completion nonsense",
]
REFUSED = [
    "submit-dataset missing",
    "submit-dataset empty",
    "submit-dataset file",
    "submit-dataset photos --multi-label missing.csv",
    "submit-dataset photos --weights missing.h5",
    "check missing",
    "check empty",
    "check file",
    "classify-dir missing",
    "classify-dir photos",
    "classify-dir photos --output missing/labels.csv",
    "classify-dir photos --output photos --format csv",
    "classify-dir photos --model missing",
    "classify missing.jpg",
    "show missing",
    "resume missing",
    "cancel missing",
    "report missing",
    "retry missing",
    "train missing",
    "sweep missing --learning-rate 0.1",
    "quarantine missing",
    "tensorboard missing",
    "export missing --to out",
    "retrain --image-dir missing",
    "retrain --image-dir photos --output-graph file/x",
    "retrain --image-dir photos --output-labels empty",
    "label-image --image missing.jpg",
    "label-image --image file --graph missing.pb",
    "bench missing",
    "bench empty",
]


@pytest.mark.parametrize("line", WRONG_USAGE)
def test_wrong_usage_is_2(here, line):
    assert_refused(line, 2)


@pytest.mark.parametrize("line", REFUSED)
def test_what_the_machine_refuses_is_1(here, line):
    assert_refused(line, 1)


def test_a_port_that_is_taken_is_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert_refused(f"tensorboard --port {taken.getsockname()[1]}", 1)


def assert_refused(line, exit_code):
    result = invoke(*line.split())

    assert (result.exit_code, result.stdout) == (exit_code, ""), result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert result.stderr.count("Error: ") == 1
