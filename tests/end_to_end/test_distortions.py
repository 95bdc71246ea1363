"""Distortions from the command to the model, through real workers."""

import json
from pathlib import Path

import pytest

from tests.builders.backbones import TINY_OPTIONS
from tests.builders.programs import poets, poets_json

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
DISTORTED = (*TINY_OPTIONS, "--flip-left-right", "--random-crop", 10, "--variants", 2)


def test_variants_are_computed_once_and_counted_apart(photos):
    (photos / "red" / "000.jpg").write_bytes(b"broken")
    plain = poets_json("submit-dataset", photos, *TINY_OPTIONS)

    first = poets_json("submit-dataset", photos, *DISTORTED)
    second = poets_json("submit-dataset", photos, *DISTORTED)

    for result, computed in ((plain, 79), (first, 0), (second, 0)):
        assert (result["images"], result["lost"], result["quarantined"]) == (80, 0, 1)
        assert (result["computed"], result["cached"]) == (computed, 79 - computed)
        assert result["training"] == plain["training"]
    assert (plain["variants"], plain["variants_computed"]) == (0, 0)
    variants = 2 * plain["training"]
    assert (first["variants"], first["variants_computed"]) == (variants, variants)
    assert (second["variants"], second["variants_computed"]) == (variants, 0)
    assert second["test_accuracy"] == first["test_accuracy"] == 1.0
    card = json.loads(Path(first["model"], "model.json").read_text("utf-8"))
    assert card["counts"]["variants"] == variants
    assert (card["training"]["flip_left_right"], card["training"]["random_crop"]) == (True, 10)


def test_a_person_is_told_of_the_variants(photos):
    out, err = poets("submit-dataset", photos, *DISTORTED)

    planned = next(line for line in err.splitlines() if line.startswith("Run "))
    assert "80 images" in planned
    assert " variants of training images, 0 of them known" in planned
    assert " images and variants" in err
    assert "80 computed, 0 from the cache, 0 unreadable, 0 lost" in out
    assert " of the training images: " in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--variants", 3), "need a distortion, or all would be the same. Add --flip-left-right"),
        (("--random-crop", 200), "a percentage from 0 to 100"),
        (("--flip-left-right", "--variants", 0), "must be 1 to 1000"),
    ],
)
def test_distortions_that_make_no_sense_are_wrong_usage(photos, options, message):
    _, err = poets("submit-dataset", photos, *TINY_OPTIONS, *options, exit_code=2)

    assert message in err
    assert len(err.strip().splitlines()) == 1
