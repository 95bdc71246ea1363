"""Variants of images: as the codelab distorts them, and the same every time."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.builders.pictures import make_picture
from workers.images.distortions import PLAIN, Draw, Recipe, variant_uri
from workers.images.loading import OpenImage
from workers.storage.names import encode_name

SIZE = (224, 224)
FLIPS = Recipe(True, 0, 0, 0, seed=0, number=1)
percents = st.integers(0, 100)
recipes = st.builds(
    Recipe, st.booleans(), percents, percents, percents, st.integers(), st.integers(1, 1000)
)
digests = st.binary(min_size=32, max_size=32)


def draws(recipe, count=4000):
    """Return what becomes of many different contents."""
    generator = np.random.default_rng(5)
    return [recipe.draw(generator.bytes(32)) for _ in range(count)]


@pytest.fixture
def photograph(data):
    return str(data / "flowers" / "daisy" / "102841525_bd6628ae3c.jpg")


def test_a_flipped_photograph_is_the_mirror_image_of_the_plain_one(photograph):
    image = OpenImage(photograph, SIZE)

    assert np.array_equal(image.cut(Draw(is_flipped=True)), np.fliplr(image.cut()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_that_lies_on_its_side_is_flipped_upright(photograph, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(photograph).save(tmp_path / "turned.jpg", exif=exif)
    image = OpenImage(str(tmp_path / "turned.jpg"), (96, 64))

    assert image.cut().shape == (96, 64, 3)
    assert np.array_equal(image.cut(Draw(is_flipped=True)), np.fliplr(image.cut()))


@pytest.mark.parametrize(("enlarged", "x", "y"), [(280, 20, 30), (246, 0, 22), (448, 224, 1)])
def test_a_crop_is_what_the_codelab_cuts_out_of_the_enlarged_picture(photograph, enlarged, x, y):
    box = (x / enlarged, y / enlarged, (x + 224) / enlarged, (y + 224) / enlarged)

    found = OpenImage(photograph, SIZE).cut(Draw(box))

    whole = OpenImage(photograph, (enlarged, enlarged)).cut()
    assert np.array_equal(found, whole[y : y + 224, x : x + 224])


def test_brightness_multiplies_and_stays_within_a_byte(photograph):
    image = OpenImage(photograph, SIZE)
    plain = image.cut().astype(np.float64)

    dark, light = (image.cut(Draw(brightness=factor)) for factor in (0.7, 1.6))

    assert np.abs(dark - plain * 0.7).max() <= 0.51
    assert np.abs(light - np.minimum(plain * 1.6, 255)).max() <= 0.51
    assert (plain * 1.6 > 256).any()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "F"])
def test_pictures_of_every_mode_can_be_cut(tmp_path, mode):
    ramp = np.tile(np.linspace(0, 200, 100, dtype=np.uint8), (50, 1))
    values = {"I;16": ramp.astype(np.uint16) * 257, "F": ramp.astype(np.float32)}.get(mode, ramp)
    picture = Image.fromarray(values)
    picture = picture if picture.mode == mode else picture.convert(mode)
    picture.save(tmp_path / "ramp", "TIFF" if mode == "F" else "PNG")
    image = OpenImage(str(tmp_path / "ramp"), (8, 8))

    right_half = image.cut(Draw(box=(0.5, 0.0, 1.0, 1.0)))

    assert right_half.min() > image.cut().min() + 40
    assert right_half.shape == (8, 8, 3)


def test_half_of_the_pictures_are_flipped():
    share = np.mean([draw.is_flipped for draw in draws(FLIPS)])

    assert 0.46 < share < 0.54
    assert {draw.box for draw in draws(FLIPS, 50)} == {PLAIN.box}


def test_a_crop_keeps_its_size_and_lies_anywhere():
    boxes = np.array([draw.box for draw in draws(Recipe(False, 25, 0, 0, 0, 1))])

    assert boxes[:, 2:] - boxes[:, :2] == pytest.approx(0.8)
    for edge in (boxes[:, 0], boxes[:, 1]):
        assert 0 <= edge.min() < 0.002
        assert 0.198 < edge.max() <= 0.2
        assert edge.mean() == pytest.approx(0.1, abs=0.005)
    assert abs(np.corrcoef(boxes[:, 0], boxes[:, 1])[0, 1]) < 0.06


def test_scale_enlarges_by_up_to_its_percentage():
    boxes = np.array([draw.box for draw in draws(Recipe(False, 0, 50, 0, 0, 1))])

    stretch = 1 / (boxes[:, 2] - boxes[:, 0])
    assert 1 <= stretch.min() < 1.01
    assert 1.49 < stretch.max() <= 1.5 + 1e-9
    assert stretch.mean() == pytest.approx(1.25, abs=0.01)


def test_brightness_is_even_around_one():
    found = np.array([draw.brightness for draw in draws(Recipe(False, 0, 0, 20, 0, 1))])

    assert 0.8 <= found.min() < 0.801
    assert 1.199 < found.max() <= 1.2
    assert found.mean() == pytest.approx(1, abs=0.006)


def test_variants_of_one_image_differ_and_come_again(tmp_path):
    digest = OpenImage(str(make_picture(tmp_path / "a.jpg", (9, 99, 200))), SIZE).digest
    first, again = (
        [Recipe(True, 10, 10, 10, 3, number).draw(digest) for number in range(1, 101)]
        for _ in range(2)
    )

    assert first == again
    assert len(set(first)) == 100


@given(recipes, digests)
def test_what_is_kept_lies_within_the_picture(recipe, digest):
    left, top, right, lower = recipe.draw(digest).box

    assert 0 <= left < right <= 1
    assert 0 <= top < lower <= 1


@given(recipes, recipes, digests)
def test_other_recipes_have_other_names_and_digests(one, other, digest):
    assert (one == other) == (one.text == other.text)
    assert (one == other) == (one.identify(digest) == other.identify(digest))
    assert one.identify(digest) != digest


@given(recipes, st.binary(min_size=1), st.text(min_size=1))
def test_no_file_has_the_name_of_a_variant(recipe, name, tail):
    uri = encode_name(os.fsdecode(name))
    variant = variant_uri(uri, recipe)

    assert variant_uri(uri, None) == uri
    # Were it a name, each of its backslashes would begin what `encode_name` writes.
    assert variant not in (encode_name(variant), encode_name(f"{os.fsdecode(name)}?{recipe.text}"))
    assert variant != encode_name(os.fsdecode(name) + tail)
