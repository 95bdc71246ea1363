"""The tiny backbone that tests use: it is what its builder makes, and good enough to learn from."""

import numpy as np
import pytest

from tests.builders.backbones import (
    TINY,
    TINY_FILE,
    TINY_ID,
    TINY_SPEC,
    TINY_WEIGHTS,
    convert_tiny,
    install_tiny,
)
from tests.builders.pictures import COLOURS
from workers.backbones.litert import LiteRTBackbone
from workers.backbones.loading import open_backbone
from workers.backbones.store import read_description, whole_backbone

SHAPE = (*TINY_SPEC.input_size, 3)


@pytest.fixture(scope="module")
def tiny() -> LiteRTBackbone:
    return LiteRTBackbone(TINY_FILE)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, *SHAPE), np.uint8)


@pytest.mark.tensorflow
def test_the_tiny_backbone_made_again_computes_the_same(tmp_path, tiny):
    # The bytes hold the version of TensorFlow, so they are not compared.
    again = tmp_path / "again.tflite"
    again.write_bytes(convert_tiny())
    pixels = noise(6)
    np.testing.assert_allclose(LiteRTBackbone(again).compute(pixels), tiny.compute(pixels), 0, 1e-6)


def test_it_has_the_interface_of_its_row(tiny):
    assert tiny.input_size == TINY_SPEC.input_size
    assert tiny.bottleneck_size == TINY_SPEC.bottleneck_size == 256
    assert TINY_FILE.stat().st_size < 10_000


def test_it_tells_colours_and_layout_apart(tiny):
    red, blue = (np.full(SHAPE, COLOURS[label], np.uint8) for label in ("red", "blue"))
    left = red.copy()
    left[:, 64:] = blue[:, 64:]
    found = tiny.compute(np.stack([red, blue, left, left[:, ::-1]]))
    assert np.isfinite(found).all()
    for one in range(4):
        for other in range(one):
            assert np.abs(found[one] - found[other]).max() > 0.1


def test_its_result_for_an_image_does_not_depend_on_the_others(tiny):
    pixels = noise(6)
    alone = np.concatenate([tiny.compute(pixels[i : i + 1]) for i in range(6)])
    np.testing.assert_array_equal(tiny.compute(pixels), alone)
    np.testing.assert_array_equal(LiteRTBackbone(TINY_FILE, chunk=1).compute(pixels), alone)


def test_it_is_installed_as_a_conversion_would_leave_it(storage, tiny):
    install_tiny(storage)
    assert whole_backbone(storage, TINY_ID).read_bytes() == TINY_FILE.read_bytes()
    assert read_description(storage, TINY_ID).weights == TINY_WEIGHTS
    opened = open_backbone(storage, TINY, "cpu")
    np.testing.assert_array_equal(opened.compute(noise(1)), tiny.compute(noise(1)))
