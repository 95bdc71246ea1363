"""Which images of a run are bad: of a finished run, and of one under way."""

import pytest

from orchestrator.bad_images import BadImage, find_bad_images
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run, pretend_with_failures
from workers.storage.plan import TrainingOptions

BAD = ("blue/002.jpg", "red/001.jpg")


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=4)


def test_of_a_run_under_way_those_that_are_known_so_far(storage, photos):
    run = make_run(storage, photos, batch_size=4)
    none_yet = list(find_bad_images(run))

    pretend_with_failures(run, 0)
    first = list(find_bad_images(run))
    pretend_with_failures(run, 1)

    assert none_yet == []
    assert first == [BadImage("blue/002.jpg", "blue", "cannot be decoded: half")]
    assert [image.path for image in find_bad_images(run)] == list(BAD)


def test_an_image_with_variants_is_listed_once(storage, photos):
    options = TrainingOptions(flip_left_right=True, variants=2)
    run = make_run(storage, photos, batch_size=100, options=options)

    pretend_with_failures(run, 0)

    assert [image.path for image in find_bad_images(run)] == list(BAD)


def test_failures_from_the_cache_are_listed_too(storage, photos):
    pretend_with_failures(make_run(storage, photos, "first", batch_size=100), 0)

    run = make_run(storage, photos, "second")

    assert run.plan.cached == 8
    assert [image.path for image in find_bad_images(run)] == list(BAD)


def test_of_a_model_what_its_own_list_says(storage, photos):
    run = make_run(storage, photos)
    run.folder.model.mkdir()
    (run.folder.model / "quarantine.csv").write_text('path,reason\nred/001.jpg,"half, or less"\n')

    assert list(find_bad_images(run)) == [BadImage("red/001.jpg", "red", "half, or less")]
