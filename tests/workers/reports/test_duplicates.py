"""Near-copies across splits and labels are found, and images that are merely alike are not."""

import numpy as np
import pytest

from workers.heads.head import Examples
from workers.processes.heartbeat import no_heartbeat
from workers.reports import duplicates
from workers.reports.duplicates import NearCopy, find_near_copies


def draw(seed, count=60, n_labels=3, width=200):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, width)).astype(np.float32)
    return Examples(values, np.arange(count) % n_labels, [f"{n}.jpg" for n in range(count)])


@pytest.fixture
def splits():
    return {"training": draw(0), "validation": draw(1, 30), "testing": draw(2, 30)}


def copy_row(splits, source, target, noise=0.05):
    """Make one example nearly equal to another; each is (split, row)."""
    values = splits[source[0]].bottlenecks[source[1]]
    blur = np.random.default_rng(9).normal(size=len(values)).astype(np.float32)
    splits[target[0]].bottlenecks[target[1]] = values + noise * blur


def pairs_of(found):
    return {
        frozenset({(one.split, one.row), (one.other_split, one.other_row)}): one.similarity
        for one in found
    }


def test_images_that_are_merely_different_give_none(splits):
    assert find_near_copies(splits, no_heartbeat) == []


def test_a_copy_in_another_split_is_found_with_its_similarity(splits):
    copy_row(splits, ("training", 3), ("testing", 3))

    (found,) = find_near_copies(splits, no_heartbeat)

    assert found == NearCopy("training", 3, "testing", 3, pytest.approx(0.999, abs=0.002))


def test_a_copy_under_another_label_of_one_split_is_found(splits):
    copy_row(splits, ("training", 3), ("training", 7))

    assert pairs_of(find_near_copies(splits, no_heartbeat)).keys() == {
        frozenset({("training", 3), ("training", 7)})
    }


def test_a_copy_under_the_same_label_of_one_split_is_nobodys_business(splits):
    copy_row(splits, ("training", 3), ("training", 6))

    assert find_near_copies(splits, no_heartbeat) == []


def test_the_most_similar_come_first_and_bounded(splits, monkeypatch):
    for row, noise in enumerate((0.3, 0.05, 0.2, 0.1)):
        copy_row(splits, ("training", row), ("testing", row), noise)

    found = find_near_copies(splits, no_heartbeat)
    assert [one.row for one in found] == [1, 3, 2, 0]

    monkeypatch.setattr(duplicates, "_MAX_PAIRS", 2)
    assert [one.row for one in find_near_copies(splits, no_heartbeat)] == [1, 3]


def test_images_that_all_look_alike_are_no_copies_of_each_other():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(2, 200)) * 10
    splits = {}
    for split in ("training", "testing"):
        labels = np.arange(50) % 2
        values = centres[labels] + generator.normal(size=(50, 200))
        splits[split] = Examples(values.astype(np.float32), labels, [""] * 50)

    assert find_near_copies(splits, no_heartbeat) == []

    copy_row(splits, ("training", 4), ("testing", 8), 0.05)
    assert pairs_of(find_near_copies(splits, no_heartbeat)).keys() == {
        frozenset({("training", 4), ("testing", 8)})
    }


@pytest.mark.parametrize("name", ["_BLOCK", "_ROWS"])
def test_small_blocks_find_the_same(splits, monkeypatch, name):
    for row in range(5):
        copy_row(splits, ("training", row), ("testing", row))
    expected = find_near_copies(splits, no_heartbeat)
    assert len(expected) == 5

    monkeypatch.setattr(duplicates, name, 7)
    assert pairs_of(find_near_copies(splits, no_heartbeat)) == pytest.approx(pairs_of(expected))


def test_projections_of_a_large_set_find_the_same(splits, monkeypatch):
    for row in range(20):
        copy_row(splits, ("training", row), ("testing", row), 0.02 * row)
    expected = pairs_of(find_near_copies(splits, no_heartbeat))
    assert len(expected) == 20

    monkeypatch.setattr(duplicates, "_EXACT_IMAGES", 10)
    assert pairs_of(find_near_copies(splits, no_heartbeat)) == expected


def test_a_set_that_is_too_large_is_not_searched(splits, monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_IMAGES", 100)

    assert find_near_copies(splits, no_heartbeat) is None


def test_empty_splits_and_equal_images_are_harmless():
    nobody = Examples(np.empty((0, 4), np.float32), np.empty(0, np.int64), [])
    same = Examples(np.ones((3, 4), np.float32), np.array([0, 1, 2]), ["a", "b", "c"])

    assert find_near_copies({"training": nobody, "testing": nobody}, no_heartbeat) == []
    assert find_near_copies({"training": same, "testing": nobody}, no_heartbeat) == []
