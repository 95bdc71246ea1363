"""An export appears whole or not at all, where it was asked for and nowhere else."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from orchestrator.exporting import export
from orchestrator.exporting.codelab_files import export_graphs
from orchestrator.exporting.export import ExportOptions, choose_photographs, export_model
from tests.builders.backbones import ARCHITECTURE, BACKBONE_ID, WEIGHTS
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from tests.builders.weights import as_hdf5
from workers.errors import (
    EarlierExportError,
    ExportError,
    ModelError,
    TargetError,
    UsageError,
    WeightsError,
)
from workers.exports.formats import FORMATS
from workers.heads.head import Head
from workers.heads.model_folder import ModelCard, Preprocessing, save_model
from workers.settings import Settings


@pytest.fixture
def settings(ready_storage):
    return Settings(ready_storage.root)


def save(storage, folder, weights=WEIGHTS):
    """Make a model whose answers are those of its bias.

    TensorFlow exports the network that the tiny backbone goes by the name of, and the answers are
    the same.
    """
    backbone = storage.backbone(BACKBONE_ID) / "backbone.tflite"
    card = ModelCard(
        name="run", created="2026-01-01", architecture=ARCHITECTURE, backbone_id=BACKBONE_ID,
        weights=weights, backbone_sha256=hashlib.sha256(backbone.read_bytes()).hexdigest(),
        preprocessing=Preprocessing((128, 128), "tf"), bottleneck_size=256,
        labels=("a", "b"), counts={}, metrics={}, training={}, versions={},
    )  # fmt: skip
    head = Head(np.zeros((256, 2), np.float32), np.array([1, 0], np.float32))
    save_model(folder, card, head, backbone, {"mistakes.csv": b""})
    return folder


@pytest.fixture
def model(ready_storage, tmp_path):
    return save(ready_storage, tmp_path / "model")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def options(model, target, *formats, **more):
    return ExportOptions(str(model), target, formats or ("keras",), **more)


@pytest.mark.tensorflow
def test_an_export_is_replaced_only_when_that_is_asked_for(settings, ready_storage, tmp_path):
    (tmp_path / "new").mkdir()
    target = save(ready_storage, tmp_path / "new" / "out")
    # As if it were an earlier export, of another format.
    (target / "mistakes.csv").rename(target / "model.keras")
    # From itself, and into itself.
    wanted = options(target, target, "graph", final_tensor_name="answer")
    with pytest.raises(EarlierExportError, match=r"exists"):
        export_model(settings, wanted)

    result = export_model(settings, replace(wanted, overwrite=True))

    assert [report["format"] for report in result["formats"]] == ["graph"]
    assert names(target) == [
        "README.md", "backbone.tflite", "head.npz", "labels.txt", "model.json",
        "retrained_graph.pb", "retrained_labels.txt",
    ]  # fmt: skip
    assert '"answer:0"' in (target / "README.md").read_text()
    assert names(target.parent) == ["out"]


def test_a_folder_with_other_files_is_never_replaced(settings, model, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("all of it")

    done = CliRunner().invoke(
        main,
        ["export", str(model), "--to", str(tmp_path / "home"), "--force", "--storage",
         str(settings.storage)],
    )  # fmt: skip

    assert done.exit_code == 1
    assert "holds other files (thesis.txt)" in done.stderr
    assert done.stderr.rstrip().endswith("Give another folder with --to.")

    assert names(tmp_path / "home") == ["thesis.txt"]


def test_a_file_is_no_folder(settings, model, tmp_path):
    (tmp_path / "out").write_text("")

    with pytest.raises(TargetError, match="is a file"):
        export_model(settings, options(model, tmp_path / "out"))


@pytest.mark.tensorflow
def test_a_format_that_was_asked_for_and_is_not_possible_leaves_nothing(settings, model, tmp_path):
    with pytest.raises(ExportError, match=r"No tflite-int8 of run: .* run that made this model"):
        export_model(settings, options(model, tmp_path / "out" / "a", "tflite-int8"))

    assert names(tmp_path / "out") == []


@pytest.mark.tensorflow
def test_what_is_not_possible_is_left_out_when_nothing_was_asked_for(
    settings, model, tmp_path, monkeypatch
):
    rows = {name: FORMATS[name] for name in ("keras", "tflite-int8")}
    monkeypatch.setattr(export, "FORMATS", rows)

    done = CliRunner().invoke(
        main,
        ["export", str(model), "--to", str(tmp_path / "out"), "--json", "--storage",
         str(settings.storage)],
    )  # fmt: skip

    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["folder"] == str(tmp_path / "out")
    keras, int8 = result["formats"]
    assert keras["difference"] < 1e-3
    assert int8["format"] == "tflite-int8"
    assert int8["reason"].endswith("and the run that made this model is not here")
    assert int8["reason"] in (tmp_path / "out" / "README.md").read_text()


def test_altered_weights_are_not_used(settings, ready_storage, tmp_path):
    digest = "ab" * 32
    model = save(ready_storage, tmp_path / "model", digest)
    ready_storage.weights(digest).parent.mkdir()
    ready_storage.weights(digest).write_bytes(b"other weights")

    with pytest.raises(WeightsError, match=r"were altered. Delete the file and export again"):
        export_model(settings, options(model, tmp_path / "out"))


def test_other_weights_than_the_models_are_not_used(ready_storage, tmp_path):
    model = save(ready_storage, tmp_path / "model", "ab" * 32)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mobilenet_2_5_128_tf_no_top.h5").write_bytes(as_hdf5(b"other weights"))
    settings = Settings(ready_storage.root, weights_dirs=(tmp_path / "weights",))

    with pytest.raises(WeightsError, match="are not those of run"):
        export_model(settings, options(model, tmp_path / "out"))


def test_a_damaged_model_is_not_handed_out(settings, model, tmp_path):
    (model / "backbone.tflite").unlink()
    (model / "backbone.tflite").write_bytes(b"damaged")

    with pytest.raises(ModelError, match="was altered"):
        export_model(settings, options(model, tmp_path / "out"))


@pytest.mark.parametrize("name", ["", "input", "a b", "_a", "ä"])
def test_a_name_that_no_tensor_can_have_is_a_usage_error(settings, model, tmp_path, name):
    with pytest.raises(UsageError, match="final tensor cannot be called"):
        export_model(settings, options(model, tmp_path / "out", final_tensor_name=name))


@pytest.mark.tensorflow
def test_the_codelabs_files_go_where_they_are_wanted_each_with_its_head(settings, model, tmp_path):
    # Too small to change an answer; see `save`.
    weights = np.random.default_rng(0).normal(0, 1e-9, (256, 2)).astype(np.float32)
    np.savez(tmp_path / "30.npz", weights=weights, bias=np.zeros(2, np.float32))
    graph, labels = tmp_path / "a" / "graph.pb", tmp_path / "b" / "labels.txt"
    other = tmp_path / "on" / "the" / "way.pb"

    export_graphs(settings, str(model), graph, labels, {other: tmp_path / "30.npz"}, "answer")

    assert labels.read_text() == "a\nb\n"
    assert b"answer" in graph.read_bytes()
    assert weights.tobytes() in other.read_bytes()
    assert weights.tobytes() not in graph.read_bytes()
    assert names(tmp_path / "a") == ["graph.pb"]
    assert names(tmp_path / "on" / "the") == ["way.pb"]


def test_a_head_of_another_model_is_refused_and_no_graph_is_written(settings, model, tmp_path):
    np.savez(tmp_path / "30.npz", weights=np.zeros((9, 2)), bias=np.zeros(2))
    graph = tmp_path / "graph.pb"

    with pytest.raises(ModelError, match="shape"):
        export_graphs(
            settings,
            str(model),
            graph,
            tmp_path / "labels.txt",
            heads={tmp_path / "way.pb": tmp_path / "30.npz"},
        )

    assert not graph.exists()


def test_the_images_to_calibrate_on_are_training_images_of_every_label(ready_storage, tmp_path):
    make_data_set(tmp_path / "photos", per_label=150)
    run = make_run(ready_storage, tmp_path / "photos")

    chosen, reason = choose_photographs(run)

    assert reason == ""
    assert len(chosen) == len(set(chosen)) == 200
    for label in ("blue", "red"):
        assert sum(f"/{label}/" in path for path, _, _ in chosen) in range(90, 111)
