"""The table of architectures: every row is checked in the same way."""

import importlib
import itertools
import re

import numpy as np
import pytest

from workers.backbones import table
from workers.backbones.keras import _preprocess, build_keras_model
from workers.backbones.table import BACKBONES, DEFAULT_ARCHITECTURE, find_spec, name_backbone
from workers.errors import UnknownArchitectureError

CODELAB = {"inception_v3"} | {
    f"mobilenet_{width}_{size}{kind}"
    for width, size, kind in itertools.product(
        ("1.0", "0.75", "0.50", "0.25"), (224, 192, 160, 128), ("", "_quantized")
    )
}
MODERN = {
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_v2_b0",
    "resnet50",
}
KERAS_WIDTHS = {"1.0": "1_0", "0.75": "7_5", "0.50": "5_0", "0.25": "2_5"}
# Where Keras keeps the preprocessing of a class.
MODULES = {
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "MobileNetV3Large": "mobilenet_v3",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ResNet50": "resnet50",
}


def test_the_table_has_the_33_names_of_the_codelab_and_six_modern_ones():
    assert len(CODELAB) == 33
    assert set(BACKBONES) == CODELAB | MODERN
    assert DEFAULT_ARCHITECTURE in BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_every_row_is_sane(name):
    spec = find_spec(name)

    assert spec.name == name
    assert spec.keras_name in MODULES
    assert spec.input_size[0] == spec.input_size[1]
    assert 96 <= spec.input_size[0] <= 512
    assert 256 <= spec.bottleneck_size <= 2048
    assert 200_000 < spec.parameters < 30_000_000
    assert spec.preprocessing in ("tf", "caffe", "none")
    assert spec.weights_url.startswith("https://storage.googleapis.com/")
    assert spec.weights_url.endswith("/" + spec.weights_file)
    assert re.search(r"no_?top.*\.h5$", spec.weights_file)
    assert spec.weights_md5 is None or re.fullmatch("[0-9a-f]{32}", spec.weights_md5)
    assert re.search(r" \d{4}, arXiv:\d{4}\.\d{5}$", spec.source)
    assert spec.is_quantized == name.endswith("_quantized")


@pytest.mark.parametrize("name", sorted(CODELAB - {"inception_v3"}))
def test_every_name_of_the_codelab_says_its_width_and_size(name):
    spec = find_spec(name)

    _, width, size, *_ = name.split("_")
    assert spec.alpha == float(width)
    assert spec.input_size == (int(size), int(size))
    assert spec.bottleneck_size == 1024 * float(width)
    assert spec.weights_file == f"mobilenet_{KERAS_WIDTHS[width]}_{size}_tf_no_top.h5"


@pytest.mark.parametrize("name", ["mobilenet_0.25_128", "mobilenet_v2", "mobilenet_v3_small"])
@pytest.mark.tensorflow
def test_keras_builds_what_the_table_says(name):
    spec = find_spec(name)

    model = build_keras_model(spec, None, "random-0")

    assert model.input_shape == (None, *spec.input_size, 3)
    assert model.output_shape == (None, spec.bottleneck_size)
    assert model.count_params() == spec.parameters


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.tensorflow
def test_the_preprocessing_of_every_row_is_keras_own(name):
    import keras

    spec = find_spec(name)
    module = importlib.import_module(f"keras.applications.{MODULES[spec.keras_name]}")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 5, 5, 3)).astype(np.float32)

    found = np.asarray(_preprocess(keras, pixels, spec.preprocessing))

    assert np.abs(found - module.preprocess_input(pixels.copy())).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mobilenet_0.5_224", "mobilenet_0.50_224"),
        ("inception", "inception_v3"),
        ("resnet", "resnet50"),
        ("MobileNet-V2", "mobilenet_v2"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, near):
    with pytest.raises(UnknownArchitectureError, match=rf"Did you mean [^?]*\b{near}\b"):
        find_spec(name)


def test_a_name_like_no_other_is_refused_with_where_to_look():
    with pytest.raises(UnknownArchitectureError, match=r"'qqq'\.$"):
        find_spec("qqq")


def test_no_two_rows_share_an_identity():
    names = {name_backbone(spec, "abc") for spec in BACKBONES.values()}

    assert len(names) == len(BACKBONES)


def test_the_identity_depends_on_the_weights_and_says_the_architecture():
    spec = find_spec(DEFAULT_ARCHITECTURE)

    assert name_backbone(spec, "abc") == name_backbone(spec, "abc")
    assert name_backbone(spec, "abc") != name_backbone(spec, "abd")
    assert name_backbone(spec, "abc").startswith(DEFAULT_ARCHITECTURE + "-")


def test_the_identity_depends_on_how_pixels_are_made(monkeypatch):
    before = name_backbone(find_spec("resnet50"), "abc")
    monkeypatch.setattr(table, "PIXELS_VERSION", table.PIXELS_VERSION + 1)

    assert name_backbone(find_spec("resnet50"), "abc") != before
