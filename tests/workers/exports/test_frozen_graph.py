"""Frozen graphs: the codelab's own, and what is said of files that are none."""

import os

import numpy as np
import pytest
from PIL import Image

from workers.errors import ImageError, ModelError
from workers.exports.frozen_graph import GraphInput, label_image

pytestmark = pytest.mark.tensorflow

OUTPUT = "MobilenetV1/Predictions/Reshape_1"


def given(**changes):
    values = {
        "input_height": 128, "input_width": 128, "input_mean": 128, "input_std": 128,
        "input_layer": "input", "output_layer": OUTPUT,
    }  # fmt: skip
    return GraphInput(**{**values, **changes})


@pytest.fixture
def graph(data):
    return data / "weights" / "frozen_graph" / "mobilenet_v1_0.25_128_frozen.pb"


@pytest.fixture
def labels(data):
    return data / "weights" / "frozen_graph" / "labels.txt"


@pytest.fixture
def daisy(data):
    return data / "flowers" / "daisy" / "102841525_bd6628ae3c.jpg"


def test_a_graph_of_the_codelab_knows_a_daisy(daisy, graph, labels):
    seconds, ranked = label_image(daisy, graph, labels, given())

    assert seconds > 0
    assert ranked[0][0] == "986:daisy"
    assert len(ranked) == 1001
    assert sum(score for _, score in ranked) == pytest.approx(1, abs=1e-4)
    assert [score for _, score in ranked] == sorted((s for _, s in ranked), reverse=True)


@pytest.mark.parametrize("ending", ["png", "gif", "bmp"])
def test_other_formats_of_tensorflow_are_read_too(daisy, graph, labels, tmp_path, ending):
    with Image.open(daisy) as image:
        image.save(tmp_path / f"daisy.{ending}")

    _, ranked = label_image(tmp_path / f"daisy.{ending}", graph, labels, given())

    assert ranked[0][0] == "986:daisy"


def test_an_unknown_layer_is_refused_with_those_there_are(daisy, graph, labels):
    with pytest.raises(ModelError, match=rf"no layer 'final_result'.*{OUTPUT}.* --output_layer"):
        label_image(daisy, graph, labels, given(output_layer="final_result"))
    with pytest.raises(ModelError, match=r"no layer 'Mul'. It begins with input .* --input_layer"):
        label_image(daisy, graph, labels, given(input_layer="Mul"))


def test_another_size_than_the_graphs_is_refused_with_what_to_give(daisy, graph, labels):
    with pytest.raises(ModelError, match="Give --input_height and --input_width"):
        label_image(daisy, graph, labels, given(input_height=64))


def test_labels_of_another_graph_are_refused(daisy, graph, tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\n")

    with pytest.raises(ModelError, match=r"has 2 labels, but .* gives 1001 scores"):
        label_image(daisy, graph, tmp_path / "labels.txt", given())


def test_what_is_missing_is_named(daisy, graph, labels, tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(ModelError, match=r"Cannot read the graph .*gone: No such file"):
        label_image(daisy, gone, labels, given())
    with pytest.raises(ModelError, match=r"Cannot read the labels .*gone: No such file"):
        label_image(daisy, graph, gone, given())
    with pytest.raises(ImageError, match=r"Cannot read the image .*gone: No such file"):
        label_image(gone, graph, labels, given())


def test_what_is_no_image_is_said(graph, labels, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")

    with pytest.raises(ImageError, match=r"cannot be decoded: [^{\[]*`poets classify` reads more"):
        label_image(tmp_path / "text.jpg", graph, labels, given())


def test_empty_files_are_called_so(daisy, graph, labels, tmp_path):
    (tmp_path / "empty").write_bytes(b"")

    with pytest.raises(ModelError, match=r"not a frozen TensorFlow graph: the file is empty"):
        label_image(daisy, tmp_path / "empty", labels, given())
    with pytest.raises(ModelError, match=r"The labels .*empty are empty"):
        label_image(daisy, graph, tmp_path / "empty", given())


def test_what_is_no_graph_is_said(tmp_path):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "graph.pb").write_bytes(b"no graph")
    (tmp_path / "labels.txt").write_text("a\n")

    with pytest.raises(ModelError, match="is not a frozen TensorFlow graph"):
        label_image(tmp_path / "a.png", tmp_path / "graph.pb", tmp_path / "labels.txt", given())


def test_a_pipe_is_refused_at_once(tmp_path, daisy, graph, labels):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)

    with pytest.raises(ModelError, match=r"Cannot read the graph .* not a regular file"):
        label_image(daisy, pipe, labels, given())
    with pytest.raises(ModelError, match=r"Cannot read the labels .* not a regular file"):
        label_image(daisy, graph, pipe, given())
    with pytest.raises(ImageError, match=r"Cannot read the image .* not a regular file"):
        label_image(pipe, graph, labels, given())
