"""Every kind of model is fed as it wants to be, and its scores are its own."""

import numpy as np
import pytest
from PIL import Image

from tests.builders.backbones import TINY_FILE, TINY_SPEC, build_tiny_model
from tests.builders.models import save_tiny_model
from tests.builders.pictures import COLOURS
from workers.errors import ModelError
from workers.exports import scoring
from workers.exports.frozen_graph import write_frozen_graph
from workers.exports.loaders import LOADERS
from workers.exports.scored_model import ScoredModel
from workers.exports.tflite import FLOAT32, INT8, write_app_graph, write_tflite
from workers.exports.tflite_metadata import read_normalization
from workers.heads.model_folder import labels_text, load_model
from workers.images.loading import OpenImage

pytestmark = [
    pytest.mark.tensorflow,
    # What TensorFlow says of 8-bit pixels, whose scale is known.
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs"),
]

FILES = ("graph.pb", "graph.lite", "model.tflite", "model_int8.tflite")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "model", COLOURS)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A picture without noise of each colour, and one between two of them."""
    folder = tmp_path_factory.mktemp("pictures")
    shades = [*COLOURS.values(), (40, 110, 150), (125, 35, 125)]
    for number, shade in enumerate(shades):
        Image.new("RGB", (128, 128), shade).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def graphs(model, tmp_path_factory):
    import keras

    folder = tmp_path_factory.mktemp("graphs")
    read = load_model(model)
    backbone = build_tiny_model()
    layer = keras.layers.Dense(len(COLOURS), activation="softmax", name="probabilities")
    classifier = keras.Model(backbone.inputs[0], layer(backbone.outputs[0]))
    layer.set_weights([read.head.weights, read.head.bias])
    noise = np.random.default_rng(0).integers(0, 256, (20, 128, 128, 3), np.uint8)
    write_frozen_graph(classifier, folder / "graph.pb", "final_result")
    write_app_graph(classifier, read.card, folder / "graph.lite")
    write_tflite(classifier, FLOAT32, noise, read.card, folder / "model.tflite")
    write_tflite(classifier, INT8, noise, read.card, folder / "model_int8.tflite")
    (folder / "labels.txt").write_text(labels_text(read.card.labels))
    return folder


def scores(path, pictures, **given):
    scorer = scoring._open(ScoredModel(str(path), **given))
    return np.array([scoring._score(scorer, str(picture)).scores for picture in pictures])


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_file_is_scored_as_the_model_that_it_was_made_from(name, model, graphs, pictures):
    exact = {"input_mean": 127.5, "input_std": 127.5} if name == "graph.pb" else {}

    found = scores(graphs / name, pictures, **exact)

    assert np.abs(found - scores(model, pictures)).max() < 1e-3


def test_8_bits_are_fed_as_pixels_and_read_as_shares(graphs, pictures):
    path = graphs / "model_int8.tflite"
    pixels = np.array([OpenImage(str(picture), (128, 128)).cut() for picture in pictures])

    assert scores(path, pictures) == pytest.approx(LOADERS["tflite-int8"](path, "")(pixels))


def test_a_litert_file_says_how_it_takes_pixels(graphs):
    found = {name: read_normalization((graphs / name).read_bytes()) for name in FILES[1:]}

    assert found == {
        "graph.lite": (127.5, 127.5), "model.tflite": (0, 1), "model_int8.tflite": (0, 1),
    }  # fmt: skip
    assert read_normalization(TINY_FILE.read_bytes()) is None


def test_what_is_given_wins(graphs, pictures):
    dark = scores(graphs / "model.tflite", pictures, input_std=1000.0)

    assert np.abs(dark - scores(graphs / "model.tflite", pictures)).max() > 0.1


def test_a_graph_without_labels_inside_takes_those_beside_it(graphs, pictures, tmp_path):
    graph = tmp_path / "mine.pb"
    graph.write_bytes((graphs / "graph.pb").read_bytes())
    with pytest.raises(ModelError, match=r"mine_labels.txt, retrained_labels.txt, labels.txt"):
        scores(graph, pictures)

    for name, labels in (
        ("labels.txt", "xyz"),
        ("retrained_labels.txt", "pqr"),
        ("mine_labels.txt", "abc"),
    ):
        (tmp_path / name).write_text("\n".join(labels))
        scoring._open.cache_clear()
        assert scoring._open(ScoredModel(str(graph))).labels == tuple(labels)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("graph.pb", {"input_layer": "nope"}, r"has no layer 'nope'. It begins with input and"),
        ("graph.pb", {"output_layer": "nope"}, r"ends with final_result; .* --output_layer"),
        ("graph.pb", {"output_layer": "final_training_ops/Wx_plus_b/add"}, "no probabilities"),
        ("graph.pb", {"input_height": 64}, r"takes \(1, 128, 128, 3\), not \(1, 64, 128, 3\)"),
        ("graph.pb", {"labels": "nowhere.txt"}, "Cannot read the labels nowhere.txt"),
        ("model.tflite", {"input_height": 64}, "takes images of 128 x 128 pixels"),
        ("model.tflite", {"input_layer": "input"}, "leave out --input_layer"),
        ("model_int8.tflite", {"input_mean": 1.0}, "leave out --input_mean"),
        ("labels.txt", {"labels": "LABELS"}, "is not a frozen TensorFlow graph"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(name, given, message, graphs, pictures):
    given = {
        key: str(graphs / "labels.txt") if value == "LABELS" else value
        for key, value in given.items()
    }

    with pytest.raises(ModelError, match=message):
        scores(graphs / name, pictures, **given)


def test_a_graph_with_other_names_needs_none_where_there_is_one_of_each(graphs, pictures, tmp_path):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString((graphs / "graph.pb").read_bytes())
    renamed = {"input": "picture", "final_result": "answer"}
    for node in graph.node:
        node.name = renamed.get(node.name, node.name)
        node.input[:] = [renamed.get(name, name) for name in node.input]
    (tmp_path / "other.pb").write_bytes(graph.SerializeToString())
    (tmp_path / "labels.txt").write_text(labels_text(tuple(COLOURS)))

    found = scores(tmp_path / "other.pb", pictures)

    assert found == pytest.approx(scores(graphs / "graph.pb", pictures))


def test_a_graph_that_leaves_its_size_open_is_fed_224(graphs):
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        source = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3], name="input")
        tf.nn.softmax(tf.reduce_mean(source, axis=[1, 2]), name="final_result")
    path = graphs / "open.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())

    sizes = [
        scoring._open(ScoredModel(str(path), input_height=height)).input_size
        for height in (None, 64)
    ]

    assert sizes == [(224, 224), (64, 224)]
    assert TINY_SPEC.input_size == scoring._open(ScoredModel(str(graphs / "graph.pb"))).input_size
