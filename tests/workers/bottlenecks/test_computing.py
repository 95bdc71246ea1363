"""A file and its variants: decoded once, computed together, each with a result of its own."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.builders.backbones import BACKBONE_ID
from tests.builders.pictures import damage_jpeg, make_picture
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request
from workers.images.distortions import Recipe
from workers.images.loading import STEPS, OpenImage


class Mean:
    """A backbone whose bottleneck is the mean red, green and blue of the left half."""

    input_size, bottleneck_size, chunk = (8, 8), 3, 4

    def __init__(self):
        self.computed = 0

    def compute(self, pixels):
        self.computed += len(pixels)
        return pixels[:, :, :4].mean(axis=(1, 2)).astype(np.float32)


def requests_for(path, count, flips=True, crop=20):
    recipes = [Recipe(flips, crop, 0, 0, 0, number) for number in range(1, count + 1)]
    return [Request(str(path), None, recipe) for recipe in (None, *recipes)]


@pytest.fixture
def pictures(tmp_path):
    return [make_picture(tmp_path / f"{n}.jpg", (50 * n, 99, 200), n) for n in range(3)]


def counted_steps():
    """Return steps, and the list that they fill with the digests of what they decode."""
    decoded = []

    def decode(content, size):
        decoded.append(hashlib.sha256(content).digest())
        return STEPS.decode(content, size)

    return STEPS._replace(decode=decode), decoded


def test_a_damaged_picture_and_its_variants_have_a_warning_and_the_next_has_none(pictures):
    damage_jpeg(pictures[1])
    requests = [request for path in pictures for request in requests_for(path, 2)]

    results = list(compute_results(requests, Mean(), lambda: None))

    assert [result.error for result in results] == [None] * 9
    assert [bool(result.warning) for result in results] == [False] * 3 + [True] * 3 + [False] * 3
    assert results[3].warning.startswith("damaged: ")


def test_a_file_is_decoded_once_for_all_its_variants(pictures):
    requests = [request for path in pictures for request in requests_for(path, 6)]

    steps, decoded = counted_steps()

    results = list(compute_results(requests, Mean(), lambda: None, steps))

    assert len(decoded) == 3
    assert len(results) == 21
    for request, result in zip(requests, results, strict=True):
        image = OpenImage(request.path, (8, 8))
        draw = request.recipe.draw(image.digest) if request.recipe else None
        pixels = image.cut(draw) if draw else image.cut()
        assert np.array_equal(result.bottleneck, pixels[:, :4].mean(axis=(0, 1), dtype="f4"))
        assert result.digest == request.identify(image.digest)
    assert len({result.digest for result in results}) == 21


def test_equal_pictures_are_computed_once(pictures):
    backbone = Mean()

    results = list(compute_results(requests_for(pictures[0], 40, crop=0), backbone, lambda: None))

    assert len(results) == 41
    assert len({result.bottleneck.tobytes() for result in results}) == 2
    assert backbone.computed == 2


def test_an_image_that_cannot_be_read_costs_its_variants_too(pictures):
    Path(pictures[1]).write_bytes(b"broken")
    requests = [request for path in pictures for request in requests_for(path, 2)]

    steps, decoded = counted_steps()

    results = list(compute_results(requests, Mean(), lambda: None, steps))

    broken = [request.identify(hashlib.sha256(b"broken").digest()) for request in requests[3:6]]
    assert len(decoded) == 3
    assert [result.digest for result in results[3:6]] == broken
    assert {result.error for result in results[3:6]} == {"not an image: no known format"}
    assert all(result.error is None for result in results[:3] + results[6:])


def test_a_file_that_is_gone_leaves_no_digest(tmp_path):
    results = compute_results(requests_for(tmp_path / "gone.jpg", 2), Mean(), lambda: None)

    assert [(result.digest, result.error) for result in results] == [
        (None, "cannot be opened: No such file or directory")
    ] * 3


def test_a_variant_does_not_depend_on_its_neighbours(ready_storage, pictures):
    backbone = LiteRTBackbone(ready_storage.backbone(BACKBONE_ID) / "backbone.tflite")
    requests = requests_for(pictures[0], 11)

    together = compute_results(requests, backbone, lambda: None)

    for request, result in zip(requests, together, strict=True):
        (alone,) = compute_results([request], backbone, lambda: None)
        assert np.array_equal(alone.bottleneck, result.bottleneck)
        assert alone.digest == result.digest
