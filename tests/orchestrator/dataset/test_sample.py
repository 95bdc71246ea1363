"""A sample is bounded, drawn from everything, and the same each time."""

from collections import Counter

import pytest

from orchestrator.dataset.scan import draw_sample
from orchestrator.progress import ignore
from tests.builders.datasets import make_data_set
from workers.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=20)


def paths(sample):
    return [image.path for image in sample.images]


def test_a_small_folder_is_taken_whole(folder):
    sample = draw_sample(folder, 400, 60, ignore)

    assert len(set(paths(sample))) == sample.found == 40
    assert sample.is_whole
    assert sample.mean_bytes == pytest.approx(sum(i.size for i in sample.images) / 40)


def test_a_sample_has_no_more_images_than_asked_for_and_none_twice(folder):
    sample = draw_sample(folder, 12, 60, ignore)

    assert len(set(paths(sample))) == 12
    assert sample.found == 40


def test_the_same_folder_gives_the_same_sample(folder):
    assert paths(draw_sample(folder, 12, 60, ignore)) == paths(draw_sample(folder, 12, 60, ignore))


def test_every_image_can_be_drawn(folder):
    seen = Counter()
    for seed in range(200):
        seen.update(paths(draw_sample(folder, 10, 60, ignore, seed)))

    # 50 times each is what is expected; 20 is more than five standard deviations below.
    assert len(seen) == 40
    assert min(seen.values()) > 20


def test_a_folder_that_takes_too_long_is_read_in_part(folder):
    sample = draw_sample(folder, 12, -1, ignore)

    assert not sample.is_whole
    assert sample.found == 1


def test_a_folder_without_images_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "notes.txt").touch()

    with pytest.raises(DatasetError, match=r"no images in .* Ignored: 1 \(\.txt 1\)"):
        draw_sample(tmp_path, 12, 60, ignore)
