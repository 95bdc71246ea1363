"""What is written is checked before it is handed out; what is not possible is said."""

import dataclasses
import hashlib
import json
import sys
import zipfile

import numpy as np
import pytest

from tests.builders.datasets import make_data_set
from workers.backbones import convert
from workers.backbones.litert import LiteRTBackbone
from workers.backbones.table import BackboneKey, find_spec, name_backbone
from workers.exports import program
from workers.exports.formats import FORMATS, ExportRequest
from workers.exports.frozen_graph import write_frozen_graph
from workers.exports.loaders import LOADERS
from workers.exports.model_readme import write_readme
from workers.exports.program import export_formats
from workers.heads.head import Head
from workers.heads.model_folder import ModelCard, Preprocessing, load_model, save_model
from workers.storage.layout import Storage
from workers.storage.making import make_storage

pytestmark = pytest.mark.tensorflow

WEIGHTS = "random-0"
LABELS = ("gänse blümchen", "back\\slash", "owl")


def make_model(folder, architecture):
    """A model with random weights, and a random head that gives varied answers."""
    spec = find_spec(architecture)
    make_storage(folder)
    storage = Storage(folder)
    backbone_id = name_backbone(spec, WEIGHTS)
    # In this process, which has TensorFlow already.
    convert._convert(storage, BackboneKey(architecture, WEIGHTS, backbone_id))
    backbone = storage.backbone(backbone_id) / "backbone.tflite"
    noise = np.random.default_rng(0).integers(0, 256, (16, *spec.input_size, 3), np.uint8)
    bottlenecks = LiteRTBackbone(backbone).compute(noise)
    drawn = np.random.default_rng(1).normal(size=(spec.bottleneck_size, len(LABELS)))
    weights = (drawn / (3 * bottlenecks.std())).astype(np.float32)
    card = ModelCard(
        name="run", created="2026-01-01T00:00:00+00:00", architecture=architecture,
        backbone_id=backbone_id, weights=WEIGHTS,
        backbone_sha256=hashlib.sha256(backbone.read_bytes()).hexdigest(),
        preprocessing=Preprocessing(spec.input_size, spec.preprocessing),
        bottleneck_size=spec.bottleneck_size, labels=LABELS, counts={"training": 5},
        metrics={"test_accuracy": None}, training={"solver": "lbfgs"}, versions={"poets": "0"},
    )  # fmt: skip
    save_model(folder / "model", card, Head(weights, -bottlenecks.mean(0) @ weights), backbone, {})
    return folder / "model"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("small"), "mobilenet_0.25_128")


def request_for(model, target, *formats, **more):
    target.mkdir(exist_ok=True)
    return ExportRequest(str(model), str(target), formats, None, "final_result", **more)


def run_export(name, folder, pixels):
    return LOADERS[name](folder / FORMATS[name].files[0], "final_result")(pixels)


def exported(model, target, *formats, **more):
    return list(export_formats(request_for(model, target, *formats, **more)))


def test_a_float_format_is_written_and_measured(model, tmp_path):
    (report,) = exported(model, tmp_path / "out", "graph")

    assert report["format"] == "graph"
    assert report["difference"] < 1e-3
    assert report["agreement"] == 1
    files = list((tmp_path / "out").iterdir())
    assert report["bytes"] == sum(path.stat().st_size for path in files)
    assert {path.name for path in files} == {"retrained_graph.pb", "retrained_labels.txt"}
    lines = (tmp_path / "out" / "retrained_labels.txt").read_text("utf-8")
    assert lines == "gänse blümchen\nback\\slash\nowl\n"


def test_the_graph_has_the_names_that_the_scripts_of_the_codelab_look_up(model, tmp_path):
    import tensorflow as tf

    exported(model, tmp_path / "out", "graph")

    # What evaluate.py does: a placeholder of its own beside the graph, and the logits.
    graph = tf.Graph()
    with graph.as_default():
        content = (tmp_path / "out" / "retrained_graph.pb").read_bytes()
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(content), name="")
        truth = tf.compat.v1.placeholder(tf.float32, [None, 3], name="GroundTruthInput")
        logits = graph.get_tensor_by_name("final_training_ops/Wx_plus_b/add:0")
        scores = graph.get_tensor_by_name("final_result:0")
        losses = tf.nn.softmax_cross_entropy_with_logits(labels=truth, logits=logits)
        source = graph.get_tensor_by_name("input:0")
        bottleneck = graph.get_tensor_by_name("input/BottleneckInputPlaceholder:0")
        assert truth.name == "GroundTruthInput:0"
        pixels = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 3))
        with tf.compat.v1.Session(graph=graph) as session:
            fed = {source: pixels, truth: [[0, 1, 0]]}
            found, loss, vector = session.run([scores, losses, bottleneck], fed)
            other = session.run(scores, {bottleneck: vector})
    assert loss[0] == pytest.approx(-np.log(found[0, 1]), rel=1e-4)
    assert other == pytest.approx(found)


def feed_android_app(folder, pixels):
    """As ImageClassifier.java: every value of a ByteBuffer is (x - 128) / 128.0f."""
    values = ((pixels.astype(np.int32) - 128) / np.float32(128)).astype("=f4")
    return run_app_graph(folder, values.tobytes())


def feed_ios_app(folder, pixels):
    """As CameraExampleViewController.mm: (x - 127.5f) / 127.5f."""
    values = (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    return run_app_graph(folder, values.tobytes())


def run_app_graph(folder, content):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "graph.lite"))
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    # All that the apps rely on: one float tensor of the size of the image, and one of the labels.
    assert (source["dtype"], target["dtype"]) == (np.float32, np.float32)
    assert list(target["shape"]) == [1, len(LABELS)]
    interpreter.set_tensor(source["index"], np.frombuffer(content, "f4").reshape(source["shape"]))
    interpreter.invoke()
    return interpreter.get_tensor(target["index"])[0]


def feed_tf_mobile_app(folder, pixels):
    """As TensorFlowImageClassifier.java with the codelab's names: input, final_result."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        content = (folder / "graph.pb").read_bytes()
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(content), name="")
    with tf.compat.v1.Session(graph=graph) as session:
        values = (pixels[np.newaxis].astype(np.int32) - 128) / np.float32(128)
        return session.run("final_result:0", {"input:0": values})[0]


@pytest.fixture(scope="module")
def app(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("app") / "out"
    (report,) = exported(model, folder, "codelab-app")
    assert report["agreement"] == 1
    assert report["difference"] < 1e-3
    return folder


@pytest.mark.parametrize("feed", [feed_android_app, feed_ios_app, feed_tf_mobile_app])
def test_the_phone_apps_of_the_codelab_say_what_poets_says(model, app, feed):
    pictures = np.random.default_rng(5).integers(0, 256, (6, 128, 128, 3), np.uint8)
    pictures[0], pictures[1] = 0, 255

    found = np.array([feed(app, picture) for picture in pictures])

    read = load_model(model)
    ours = read.head.predict(LiteRTBackbone(model / "backbone.tflite").compute(pictures))
    assert (found.argmax(axis=1) == ours.argmax(axis=1)).all()
    # They take 128 for the middle, of 0 to 255.
    assert np.abs(found - ours).max() < 0.05


def test_the_phone_of_the_codelabs_time_knows_the_operations(app):
    from ai_edge_litert import schema_py_generated as schema

    content = (app / "graph.lite").read_bytes()
    codes = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0)).operatorCodes
    assert {code.version for code in codes} == {1}


@pytest.fixture(scope="module")
def multi_label_model(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "model"
    read = load_model(model)
    card = dataclasses.replace(read.card, activation="sigmoid")
    head = Head(read.head.weights, read.head.bias, "sigmoid")
    save_model(folder, card, head, model / "backbone.tflite", {})
    return folder


@pytest.fixture(scope="module")
def handed_out(multi_label_model, tmp_path_factory):
    """The model of several labels an image in four formats, and the report on each."""
    folder = tmp_path_factory.mktemp("handed") / "out"
    reports = exported(multi_label_model, folder, "graph", "saved-model", "keras", "tflite")
    return folder, {report["format"]: report for report in reports}


@pytest.mark.parametrize("name", ["graph", "saved-model", "keras", "tflite"])
def test_a_model_of_several_labels_an_image_is_exported(multi_label_model, handed_out, name):
    folder, reports = handed_out

    assert reports[name]["difference"] < 1e-3
    assert reports[name]["agreement"] == 1
    noise = np.random.default_rng(3).integers(0, 256, (3, 128, 128, 3), np.uint8)
    found = run_export(name, folder, noise)
    read = load_model(multi_label_model)
    ours = read.head.predict(LiteRTBackbone(multi_label_model / "backbone.tflite").compute(noise))
    assert np.abs(found - ours).max() < 1e-3
    assert np.abs(found.sum(axis=1) - 1).max() > 0.1


def test_a_wrong_conversion_is_not_handed_out(model, tmp_path, monkeypatch):
    def write_wrong(classifier, path, name):
        kernel, bias = classifier.layers[-1].get_weights()
        classifier.layers[-1].set_weights([kernel[:, ::-1], bias[::-1]])
        write_frozen_graph(classifier, path, name)

    monkeypatch.setattr(program, "write_frozen_graph", write_wrong)

    (report,) = exported(model, tmp_path / "out", "graph")

    assert "from ours, and 0.001 is the limit" in report["reason"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_converter_that_fails_costs_its_own_format_alone(model, tmp_path, monkeypatch):
    def fail(*_):
        (tmp_path / "out" / "saved_model").mkdir()
        raise RuntimeError("no such op\nmore")

    monkeypatch.setattr(program, "write_saved_model", fail)

    first, second = exported(model, tmp_path / "out", "saved-model", "tflite")

    assert first["reason"] == "the converter failed: RuntimeError: no such op"
    assert "reason" not in second
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.tflite"]


def test_without_training_images_there_are_no_8_bits(model, tmp_path):
    (report,) = exported(model, tmp_path / "out", "tflite-int8", no_photographs="they are gone")

    assert report["reason"] == "it is calibrated on training images, and they are gone"


def test_most_training_images_must_still_be_there(model, tmp_path):
    make_data_set(tmp_path / "photos", per_label=4)
    found = sorted((tmp_path / "photos").glob("*/*.jpg"))
    asked = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in found]
    for path in found[:5]:
        path.write_bytes(b"another one")

    (report,) = exported(model, tmp_path / "out", "tflite-int8", photographs=tuple(asked))

    assert "only 3 of 8 are still there unchanged" in report["reason"]


def test_without_its_packages_onnx_is_refused_with_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)

    (report,) = exported(model, tmp_path / "out", "onnx")

    assert "`pip install tf2onnx onnxruntime` brings it" in report["reason"]


def test_the_keras_model_holds_no_program(handed_out):
    folder, _ = handed_out

    with zipfile.ZipFile(folder / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))

    text = json.dumps(config)
    assert "Lambda" not in text
    assert not [key for key in text.split('"') if key.startswith(("workers", "orchestrator"))]


def test_the_formats_of_an_8_bit_architecture_hold_the_network_it_came_from(model, tmp_path):
    plain, model = model, make_model(tmp_path, "mobilenet_0.25_128_quantized")

    reports = exported(model, tmp_path / "out", "graph")

    noise = np.random.default_rng(7).integers(0, 256, (3, 128, 128, 3), np.uint8)
    bottlenecks = LiteRTBackbone(plain / "backbone.tflite").compute(noise)
    expected = load_model(model).head.predict(bottlenecks)
    for report in reports:
        found = run_export(report["format"], tmp_path / "out", noise)
        assert np.abs(found - expected).max() < 1e-3
        assert report["difference"] > 1e-3
    card = load_model(model).card
    assert "8-bit weights" in write_readme(card, "", reports, "final_result")


def test_the_model_card_says_what_is_not_there(model):
    card = dataclasses.replace(load_model(model).card, labels=("a", "b"))
    reports = [{"format": "onnx", "reason": "the package tf2onnx is missing"}]

    text = write_readme(card, "", reports, "final_result")

    assert "- Not here: ONNX, opset 17; the package tf2onnx is missing." in text
    assert "random, from seed 0" in text
    assert "onnxruntime" not in text
    assert "nothing was held out" in text


def read_table(table, number):
    """Return the place that a field of a FlatBuffer table points to."""
    offset = table.Offset(4 + 2 * number)
    assert offset, f"field {number} is missing"
    return table.Pos + offset


def follow(table, number):
    from flatbuffers.table import Table

    return Table(table.Bytes, table.Indirect(read_table(table, number)))


def text_of(table, number):
    return table.String(read_table(table, number)).decode()


def first_of(table, number):
    from flatbuffers.table import Table

    return Table(table.Bytes, table.Indirect(table.Vector(table.Offset(4 + 2 * number))))


def float_of(table, number):
    from flatbuffers import number_types

    offset = table.Offset(4 + 2 * number)
    assert table.VectorLen(offset) == 1
    return table.Get(number_types.Float32Flags, table.Vector(offset))


def byte_of(table, number):
    return table.Bytes[read_table(table, number)]


def test_the_metadata_of_a_tflite_file_are_those_of_the_schema(handed_out):
    """Numbers of fields as in metadata_schema.fbs of tensorflow/tflite-support."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers.table import Table
    from flatbuffers.util import BufferHasIdentifier, GetSizePrefix

    path = handed_out[0] / "model.tflite"
    root = schema.Model.GetRootAsModel(path.read_bytes(), 0)
    entries = [root.Metadata(i) for i in range(root.MetadataLength())]
    (entry,) = [entry for entry in entries if entry.Name() == b"TFLITE_METADATA"]
    content = root.Buffers(entry.Buffer()).DataAsNumpy().tobytes()

    assert BufferHasIdentifier(content, 0, b"M001")
    metadata = Table(bytearray(content), GetSizePrefix(content, 0))
    assert text_of(metadata, 0) == "run"
    assert "random numbers" in text_of(metadata, 5)
    assert text_of(metadata, 7) == "1.0.0"
    source = first_of(first_of(metadata, 3), 2)
    assert text_of(source, 0) == "image"
    image = follow(source, 3)
    assert byte_of(image, 0) == 2  # ImageProperties
    assert byte_of(follow(image, 1), 0) == 1  # RGB
    unit = first_of(source, 4)
    assert byte_of(unit, 0) == 1  # NormalizationOptions
    assert (float_of(follow(unit, 1), 0), float_of(follow(unit, 1), 1)) == (0, 1)
    labels = first_of(first_of(first_of(metadata, 3), 3), 6)
    assert byte_of(labels, 2) == 2  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(path) as archive:
        text = archive.read(text_of(labels, 0)).decode()
    assert text.splitlines() == list(LABELS)


def test_a_network_that_scales_by_itself_is_exported_alike(tmp_path):
    model = make_model(tmp_path, "mobilenet_v3_small")

    (report,) = exported(model, tmp_path / "out", "graph")

    assert report["difference"] < 1e-3


def test_the_codelabs_name_for_the_input_of_inception_can_be_fed_too(handed_out):
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        content = (handed_out[0] / "retrained_graph.pb").read_bytes()
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(content), name="")
    values = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)

    with tf.compat.v1.Session(graph=graph) as session:
        one = session.run("final_result:0", {"Mul:0": values})
        other = session.run("final_result:0", {"input:0": values})

    assert np.array_equal(one, other)
