"""The split: never empty, stable, independent of the place, `_nohash_` honoured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dataset.split import (
    TESTING,
    TRAINING,
    VALIDATION,
    Shares,
    check_shares,
    split_images,
)
from workers.errors import DatasetError, UsageError
from workers.storage.plan import TrainingOptions

NAMES = st.text("abcdefghij0123456789_-", min_size=1, max_size=12)
LABELS = st.dictionaries(
    st.sampled_from(["daisy", "roses", "tulips"]),
    st.sets(NAMES, min_size=3, max_size=40),
    min_size=1,
)
PERCENTAGES = st.sampled_from([(10, 10), (20, 5), (1, 1), (45, 45), (0, 10), (10, 0), (0, 0)])


def as_images(labels):
    return [(label, f"{name}.jpg") for label in sorted(labels) for name in sorted(labels[label])]


def as_dict(images, split):
    return dict(zip(images, split.splits, strict=True))


@given(LABELS, PERCENTAGES, st.integers(0, 5))
def test_no_split_of_any_label_is_ever_empty(labels, percentages, seed):
    images = as_images(labels)
    testing, validation = percentages
    shares = Shares(testing, validation, seed)

    found = as_dict(images, split_images(images, shares))

    for label in labels:
        splits = {split for (own, _), split in found.items() if own == label}
        assert splits == set(shares.needed)


@given(LABELS, st.sets(NAMES, max_size=30), PERCENTAGES)
def test_an_image_held_out_stays_so_when_images_are_added(labels, added, percentages):
    images = as_images(labels)
    first = split_images(images, Shares(*percentages))
    label = min(labels)
    more = as_images({**labels, label: labels[label] | added})

    second = as_dict(more, split_images(more, Shares(*percentages), first.exceptions))

    before = as_dict(images, first)
    assert {image: second[image] for image in images} == before


@given(LABELS, PERCENTAGES)
def test_the_order_in_which_images_are_found_changes_nothing(labels, percentages):
    images = as_images(labels)

    forwards = as_dict(images, split_images(images, Shares(*percentages)))
    backwards = as_dict(images[::-1], split_images(images[::-1], Shares(*percentages)))

    assert forwards == backwards


@given(st.sets(st.integers(0, 10**6), min_size=30, max_size=60), st.integers(2, 6))
def test_variants_of_one_photograph_stay_together(names, variants):
    images = [
        ("daisy", f"{name}_nohash_{number}.jpg")
        for name in sorted(names)
        for number in range(variants)
    ]

    found = as_dict(images, split_images(images, Shares(10, 10)))

    for name in names:
        splits = {found["daisy", f"{name}_nohash_{number}.jpg"] for number in range(variants)}
        assert len(splits) == 1


def test_a_relabelled_image_keeps_its_split():
    names = [f"{number}.jpg" for number in range(200)]
    as_daisy = split_images([("daisy", name) for name in names], Shares(10, 10))
    as_roses = split_images([("roses", name) for name in names], Shares(10, 10))

    assert as_daisy.exceptions == {}
    assert as_daisy.splits == as_roses.splits


def test_the_shares_come_out_as_asked_for_large_sets():
    images = [("daisy", f"{number}.jpg") for number in range(20_000)]

    splits = split_images(images, Shares(10, 20)).splits

    assert splits.count(TESTING) / 20_000 == pytest.approx(0.10, abs=0.01)
    assert splits.count(VALIDATION) / 20_000 == pytest.approx(0.20, abs=0.01)
    assert splits.count(TRAINING) / 20_000 == pytest.approx(0.70, abs=0.01)


def test_another_seed_holds_out_other_images():
    images = [("daisy", f"{number}.jpg") for number in range(1000)]

    assert split_images(images, Shares(10, 10, 0)) != split_images(images, Shares(10, 10, 1))


def test_a_label_with_too_few_images_is_refused_with_how_many_are_needed():
    images = [("daisy", "1.jpg"), ("daisy", "2.jpg"), *[("roses", f"{n}.jpg") for n in range(9)]]

    with pytest.raises(DatasetError, match=r"at least 3 images.*'daisy' has 2"):
        split_images(images, Shares(10, 10))


def test_without_a_test_split_fewer_images_are_enough():
    images = [("daisy", "1.jpg"), ("daisy", "2.jpg")]

    assert sorted(split_images(images, Shares(0, 10)).splits) == [TRAINING, VALIDATION]


@pytest.mark.parametrize(
    ("testing", "validation"),
    [(-1, 10), (10, -1), (60, 40), (float("nan"), 10), (10, float("nan"))],
)
def test_impossible_percentages_are_refused(testing, validation):
    with pytest.raises(UsageError, match="percentages"):
        check_shares(TrainingOptions(testing_percentage=testing, validation_percentage=validation))
