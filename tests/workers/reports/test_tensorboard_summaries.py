"""What TensorBoard is given to show, read with its own reader."""

import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from tests.builders.heads import EMPTY, LABELS, make_clusters
from tests.builders.paths import ROOT
from workers.errors import StorageError
from workers.heads.evaluate import evaluate_head
from workers.heads.head import Examples, Head
from workers.heads.learning_curve import Step
from workers.processes.heartbeat import no_heartbeat
from workers.reports.tensorboard_summaries import EventFile, Summaries, histogram, scalar
from workers.storage.plan import TrainingOptions

TRAINING, VALIDATION = make_clusters(700, 1), make_clusters(80, 2)
HEAD = Head(
    np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32),
    np.array([0.5, -0.5, 0.25], np.float32),
)
SGD = TrainingOptions(solver="sgd", learning_rate=0.25)


@pytest.fixture
def read(monkeypatch):
    """TensorBoard's reader of one folder of event files, without TensorFlow."""
    monkeypatch.setitem(
        sys.modules, "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf")
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read_folder(folder):
        return EventAccumulator(str(folder), size_guidance={}).Reload()

    return read_folder


def write(folder, steps=3, training=TRAINING, validation=VALIDATION, options=SGD):
    with Summaries(folder, "mobilenet", options, training, validation) as summaries:
        for number in range(steps):
            loss = 0.125 if len(validation) else None
            summaries.add_step(
                Step(10 * number, 0.5 + number / 4, 0.25, loss, loss, 80, 1000.0 + number), HEAD
            )
        evaluations = {
            "validation": evaluate_head(HEAD, validation, LABELS, no_heartbeat),
            "test": evaluate_head(HEAD, make_clusters(50, 3), LABELS, no_heartbeat),
        }
        summaries.finish(HEAD, evaluations)
    return evaluations


def test_the_curves_have_the_names_of_the_codelab(tmp_path, read):
    write(tmp_path)

    train = read(tmp_path / "train").Scalars("accuracy")
    assert [(e.step, e.value, e.wall_time) for e in train] == [
        (0, 0.5, 1000),
        (10, 0.75, 1001),
        (20, 1.0, 1002),
    ]
    held_out = read(tmp_path / "validation").Scalars("cross_entropy")
    assert [(e.step, e.value) for e in held_out] == [(0, 0.125), (10, 0.125), (20, 0.125)]


@pytest.mark.parametrize(
    ("solver", "training", "kind"),
    [
        ("sgd", TRAINING, "Softmax"),
        ("lbfgs", TRAINING, "Softmax"),
        (
            "sgd",
            Examples(TRAINING.bottlenecks, np.eye(3, dtype=bool)[TRAINING.labels], []),
            "Sigmoid",
        ),
    ],
)
def test_the_graph_has_the_names_of_the_codelab(tmp_path, read, solver, training, kind):
    with Summaries(tmp_path, "mobilenet_0.50_224", replace(SGD, solver=solver), training, EMPTY):
        pass

    nodes = {node.name: node for node in read(tmp_path / "train").Graph().node}
    assert nodes["final_training_ops/Wx_plus_b/add"].input == [
        "final_training_ops/Wx_plus_b/MatMul", "final_training_ops/biases/final_biases",
    ]  # fmt: skip
    assert nodes["final_result"].op == kind
    assert {"input/BottleneckInputPlaceholder", "input/GroundTruthInput"} <= set(nodes)
    assert nodes["input/BottleneckInputPlaceholder"].input == ["mobilenet_0.50_224"]
    weights = nodes["final_training_ops/weights/final_weights"].attr["_output_shapes"]
    assert [dim.size for dim in weights.list.shape[0].dim] == [20, 3]
    assert {name for node in nodes.values() for name in node.input} <= set(nodes)


def test_the_histograms_have_the_names_of_the_codelab(tmp_path, read):
    write(tmp_path)

    layers = {"final_training_ops/Wx_plus_b/pre_activations", "activations"}
    variables = {f"final_training_ops/{name}/summaries/histogram" for name in ("weights", "biases")}
    train, held_out = read(tmp_path / "train"), read(tmp_path / "validation")
    assert set(_histograms(train)) == layers | variables
    assert set(_histograms(held_out)) == layers
    mean = train.Scalars("final_training_ops/weights/summaries/mean")[-1].value
    assert mean == pytest.approx(HEAD.weights.mean())


def _histograms(accumulator):
    return accumulator.Tags()["histograms"]


def test_a_histogram_counts_every_number(tmp_path, read):
    write(tmp_path)

    content = read(tmp_path / "train").Histograms("final_training_ops/weights/summaries/histogram")
    value = content[-1].histogram_value
    assert value.num == HEAD.weights.size == sum(value.bucket)
    assert value.min == pytest.approx(HEAD.weights.min())
    assert value.max == pytest.approx(HEAD.weights.max())
    for limit, count in zip(value.bucket_limit, np.cumsum(value.bucket), strict=True):
        assert count == np.count_nonzero(HEAD.weights <= limit + 1e-9)


def test_activations_are_probabilities(tmp_path, read):
    write(tmp_path)

    value = read(tmp_path / "validation").Histograms("activations")[-1].histogram_value
    assert value.num == len(VALIDATION) * len(LABELS)
    assert value.sum == pytest.approx(len(VALIDATION), rel=1e-4)
    assert 0 <= value.min <= value.max <= 1


def test_numbers_that_are_not_finite_are_left_out_of_a_histogram():
    numbers = np.array([1, 2, np.nan, np.inf, -np.inf], np.float32)

    assert histogram("x", numbers).histo.num == 2
    assert histogram("x", numbers[2:]).histo.num == 0
    assert histogram("x", np.zeros(4, np.float32)).histo.num == 4


def test_the_figures_of_the_model_are_shown_by_split(tmp_path, read):
    evaluations = write(tmp_path)

    found = read(tmp_path)
    for split, evaluation in evaluations.items():
        accuracy = found.Scalars(f"{split}_accuracy")[-1]
        assert accuracy.value == pytest.approx(evaluation.accuracy)
        assert accuracy.step == 20
        assert found.Scalars(f"{split}_log_loss")[-1].value == pytest.approx(evaluation.log_loss)


def test_nothing_held_out_is_nothing_shown(tmp_path, read):
    write(tmp_path, validation=EMPTY)

    assert read(tmp_path / "validation").Tags()["scalars"] == []
    assert "validation_accuracy" not in read(tmp_path).Tags()["scalars"]
    assert "test_accuracy" in read(tmp_path).Tags()["scalars"]


@pytest.mark.parametrize(
    "options, shown",
    [
        (SGD, {"learning_rate": 0.25, "steps": 4000.0, "solver": "sgd", "seed": 0.0}),
        (TrainingOptions(), {"learning_rate": None, "solver": "lbfgs"}),
    ],
    ids=["sgd", "lbfgs"],
)
def test_hyper_parameters_are_those_that_the_solver_uses(tmp_path, read, options, shown):
    from tensorboard.plugins.hparams import metadata

    write(tmp_path, options=options)

    found = read(tmp_path)
    content = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hparams["architecture"].string_value == "mobilenet"
    for name, value in shown.items():
        if value is None:
            assert name not in hparams
        else:
            assert value in (hparams[name].number_value, hparams[name].string_value)
    end = found.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(end).status == 1


def test_another_attempt_leaves_the_files_of_the_one_before(tmp_path, read):
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")}

    write(tmp_path)

    after = {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")}
    assert len(before) == 3
    assert len(after) == 6
    assert before.items() <= after.items()
    assert len(read(tmp_path / "train").Scalars("accuracy")) >= 3


def test_a_live_run_can_be_watched(tmp_path, read):
    with Summaries(tmp_path, "mobilenet", SGD, TRAINING, VALIDATION) as summaries:
        summaries.add_step(Step(0, 0.5, 0.25, 0.5, 0.5, 80, 1000.0), HEAD)

        assert read(tmp_path / "train").Scalars("accuracy")[-1].value == 0.5
        assert read(tmp_path / "train").Tags()["histograms"]


def test_writing_summaries_imports_no_tensorflow(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.workers.reports.test_tensorboard_summaries import write\n"
        f"write(Path({str(tmp_path)!r}))\n"
        "import workers.training, workers.reports.tensorboard_projector\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert {"tensorflow", "keras"}.isdisjoint(done.stdout.split())
    assert list(tmp_path.glob("*tfevents*"))


def test_a_folder_that_cannot_be_made_is_an_error_of_the_storage(tmp_path):
    (tmp_path / "train").write_text("")

    with pytest.raises(StorageError, match="TensorBoard summaries"):
        write(tmp_path)


def test_storage_that_takes_no_more_is_an_error_of_the_storage(tmp_path):
    # The kernel refuses whatever would make a file longer than 64 KiB.
    code = (
        "import resource\n"
        "from pathlib import Path\n"
        "from workers.reports.tensorboard_summaries import EventFile, scalar\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))\n"
        "try:\n"
        f"    with EventFile(Path({str(tmp_path)!r})) as file:\n"
        "        for step in range(10000):\n"
        "            file.add([scalar('accuracy', 0.5)], step)\n"
        # Whoever measures the coverage has a file of its own to write.
        "finally:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("workers.errors.StorageError: Cannot write TensorBoard summaries to")
    assert "File too large" in last


def test_two_files_of_one_second_are_two(tmp_path):
    for _ in range(3):
        with EventFile(tmp_path) as file:
            file.add([scalar("x", 1.0)])

    assert len(list(tmp_path.iterdir())) == 3
