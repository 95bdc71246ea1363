"""Variants in plans: of training images alone, and cached as any image is."""

import hashlib
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.batches import choose_variants, cut_batches
from tests.builders.datasets import make_data_set
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.runs import images_of, make_plan, make_run
from workers.bottlenecks.batches import complete_batch
from workers.bottlenecks.requests import ImageResult
from workers.errors import UsageError
from workers.storage.manifest import PlannedImage, read_batches
from workers.storage.plan import Run, TrainingOptions, read_plan

CROPS = TrainingOptions(random_crop=10, variants=3)


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


def compute_all(storage, run):
    """Compute what is missing without decoding it; return the requests."""
    asked = []

    def pretend(requests):
        for request in requests:
            asked.append(request)
            with open(request.path, "rb") as file:
                digest = request.identify(hashlib.file_digest(file, "sha256").digest())
            yield ImageResult(np.full(256, digest[0], np.float32), digest)

    for batch in read_batches(run.folder):
        complete_batch(run, batch, pretend)
    return asked


def submit(storage, photos, name, options=CROPS):
    return compute_all(storage, make_run(storage, photos, name, options=options))


def test_each_training_image_is_followed_by_its_variants_and_no_other_has_any(storage, photos):
    run = make_run(storage, photos, options=CROPS)

    rows, plan = images_of(run), run.plan

    images = [row for row in rows if not row.variant]
    training = [row.path for row in images if row.split == "training"]
    assert len(images) == plan.images == 24
    assert plan.variants == len(rows) - 24 == 3 * len(training)
    assert [(row.path, row.variant) for row in rows] == [
        (image.path, number)
        for image in images
        for number in range(4 if image.split == "training" else 1)
    ]
    for row in rows:
        image = next(image for image in images if image.path == row.path)
        assert (row.label, row.split, row.size) == (image.label, image.split, image.size)


def test_variants_change_nothing_about_the_split(storage, photos):
    plain, distorted = (
        make_run(storage, photos, name, options=options)
        for name, options in (("plain", TrainingOptions()), ("distorted", CROPS))
    )

    assert {row.path: row.split for row in images_of(plain)} == {
        row.path: row.split for row in images_of(distorted)
    }


def test_a_second_run_with_the_same_distortions_computes_nothing(storage, photos):
    first = submit(storage, photos, "first")

    run = make_run(storage, photos, "second", options=CROPS)

    plan = run.plan
    assert len(first) == plan.images + plan.variants
    assert (plan.cached, plan.cached_variants) == (plan.images, plan.variants)
    assert compute_all(storage, run) == []


@pytest.mark.parametrize(
    "changed", [{"random_crop": 11}, {"flip_left_right": True}, {"random_brightness": 1}]
)
def test_other_distortions_compute_the_variants_alone(storage, photos, changed):
    submit(storage, photos, "first")

    asked = submit(storage, photos, "second", replace(CROPS, **changed))

    assert len(asked) == read_plan(storage.run("second")).variants
    assert all(request.recipe for request in asked)


def test_distortions_on_images_that_are_known_and_more_variants_cost_what_is_new(storage, photos):
    submit(storage, photos, "plain", TrainingOptions())

    first = submit(storage, photos, "three")
    more = submit(storage, photos, "five", replace(CROPS, variants=5))

    training = read_plan(storage.run("three")).variants // 3
    assert Counter(request.recipe.number for request in first) == dict.fromkeys((1, 2, 3), training)
    assert Counter(request.recipe.number for request in more) == dict.fromkeys((4, 5), training)


def test_moved_images_keep_their_variants(storage, photos, tmp_path):
    submit(storage, photos, "first")
    moved = shutil.move(photos, tmp_path / "elsewhere")

    assert submit(storage, moved, "second") == []


def test_added_training_images_cost_themselves_and_their_variants(storage, photos):
    before = submit(storage, photos, "first")
    for number in range(10):
        make_picture(photos / "red" / f"new{number}.jpg", COLOURS["red"], 5000 + number)

    added = submit(storage, photos, "second")

    new = [row for row in images_of(Run.open(storage, "second")) if "/new" in row.path]
    assert len(before) == read_plan(storage.run("first")).variants + 24
    assert len(added) == len(new) > 10
    assert {request.path for request in added} == {f"{photos}/{row.path}" for row in new}


def test_a_replaced_photograph_has_new_variants(storage, photos):
    submit(storage, photos, "first")
    path = next(row.path for row in images_of(Run.open(storage, "first")) if row.variant)
    make_picture(photos / path, (0, 0, 0), seed=9999)

    asked = submit(storage, photos, "second")

    assert [request.recipe and request.recipe.number for request in asked] == [None, 1, 2, 3]


def test_a_second_delivery_finds_the_variants(storage, photos):
    run = make_run(storage, photos, options=CROPS)

    assert len(compute_all(storage, run)) == len(images_of(run))
    assert compute_all(storage, run) == []


@given(
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40),
    st.one_of(st.just(0), st.integers(1, 30)),
)
def test_no_batch_parts_an_image_from_its_variants(images, batch_size):
    plan = make_plan(name="run", root="/", batch_size=batch_size, training=CROPS)
    rows = [
        PlannedImage(f"{n}.jpg", 1, 1, "a", "training", "", 0 if known else -1, None, variant)
        for n, (variants, known) in enumerate(images)
        for variant in range(variants + 1)
    ]

    batches = list(cut_batches(plan, rows, set()))

    paths = [row.path for batch in batches for row in batch]
    assert [(row.path, row.variant) for batch in batches for row in batch] == [
        (row.path, row.variant) for row in rows
    ]
    assert sum(len({row.path for row in batch}) for batch in batches) == len(set(paths))
    for batch in batches:
        new = sum(not row.is_cached for row in batch)
        assert new < (batch_size or 32) + 13


@pytest.mark.parametrize(("asked", "variants"), [(None, 8), (1, 1), (20, 20)])
def test_distortions_bring_eight_variants_unless_another_number_is_given(asked, variants):
    assert choose_variants(TrainingOptions(flip_left_right=True), asked).variants == variants


@pytest.mark.parametrize("asked", [None, 0])
def test_no_distortion_brings_no_variants(asked):
    assert choose_variants(TrainingOptions(), asked).variants == 0


@pytest.mark.parametrize(
    ("options", "asked", "message"),
    [
        ({}, 3, "3 variants of an image need a distortion"),
        ({"random_crop": -1}, None, "Random crop is a percentage from 0 to 100; it is -1"),
        ({"random_scale": 101}, None, "Random scale is a percentage"),
        ({"random_brightness": 1000}, 4, "Random brightness is a percentage"),
        ({"random_crop": 10}, 0, "must be 1 to 1000"),
        ({"random_crop": 10}, 1001, "must be 1 to 1000"),
    ],
)
def test_distortions_that_make_no_sense_are_refused(options, asked, message):
    with pytest.raises(UsageError, match=message):
        choose_variants(TrainingOptions(**options), asked)
