"""Cross-validation: no head judges what it has seen, a copy of it, or a variant of it."""

import numpy as np
import pytest

from tests.builders.heads import make_clusters
from workers.heads.groups import group_photographs
from workers.heads.head import Examples, Head
from workers.heads.out_of_fold import FOLDS, Pool, assign_folds, guess_out_of_fold
from workers.processes.heartbeat import no_heartbeat
from workers.storage.names import shared_name


def numbered(labels, copies=1):
    """Return examples whose bottleneck says which photograph they are of."""
    numbers = np.arange(len(labels)).repeat(copies)
    rows = np.stack([numbers, np.ones(len(numbers))], axis=1).astype(np.float32)
    return Examples(rows, np.asarray(labels).repeat(copies, axis=0), [])


def judge(pool, n_labels=2):
    """Return the numbers that each head was fitted to, and those that it judged."""
    seen = []

    class Spy(Head):
        def predict(self, bottlenecks):
            seen.append((fitted[-1], set(bottlenecks[:, 0].astype(int).tolist())))
            return super().predict(bottlenecks)

    fitted = []

    def fit(part):
        fitted.append(set(part.bottlenecks[:, 0].astype(int).tolist()))
        zeros = np.zeros((2, n_labels), np.float32)
        return Spy(zeros, zeros[0], part.activation)

    unseen = guess_out_of_fold(pool, n_labels, 0, fit, no_heartbeat)
    return seen, unseen


def test_every_photograph_is_judged_once_by_a_head_that_has_not_seen_it_or_its_variants():
    labels = np.arange(40) % 2
    is_variant = np.tile([False, True, True], 40)

    seen, unseen = judge(Pool(numbered(labels, copies=3), is_variant, np.arange(40)))

    assert sorted(number for _, judged in seen for number in judged) == list(range(40))
    assert all(not fitted & judged for fitted, judged in seen)
    assert len(unseen.scores) == len(unseen.is_right) == 40
    assert len(seen) == FOLDS


def test_copies_are_in_one_fold_and_one_of_them_counts():
    labels = np.arange(60) % 2
    groups = np.arange(60) // 4  # also across labels

    seen, unseen = judge(Pool(numbered(labels), np.zeros(60, np.bool_), groups))

    assert len(unseen.scores) == 15
    assert sorted(number for _, judged in seen for number in judged) == list(range(0, 60, 4))
    for fitted, judged in seen:
        assert not {number // 4 for number in fitted} & {number // 4 for number in judged}


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_each_label_is_spread_over_all_folds(is_multi_label):
    generator = np.random.default_rng(0)
    numbers = generator.choice(3, 400, p=[0.6, 0.35, 0.05])
    labels = np.eye(3, dtype=np.bool_)[numbers] if is_multi_label else numbers

    folds = assign_folds(labels, 3, np.arange(400), seed=1)

    for label in range(3):
        counts = np.bincount(folds[numbers == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    assert np.array_equal(folds, assign_folds(labels, 3, np.arange(400), seed=1))


def test_photographs_that_are_all_copies_of_one_cannot_be_judged():
    seen, unseen = judge(Pool(numbered([0, 1, 1]), np.zeros(3, np.bool_), np.zeros(3, int)))

    assert seen == []
    assert not unseen.is_right.any()


def bursts(count, copies, spread=0.3):
    """Return bottlenecks of scenes, each photographed several times."""
    scenes = make_clusters(count, 1, width=128).bottlenecks
    noise = np.random.default_rng(2).normal(size=(count, copies, 128)) * spread
    return (scenes[:, np.newaxis] + noise).reshape(-1, 128).astype(np.float32)


@pytest.mark.parametrize("copies", [2, 20])
def test_bursts_are_found_by_their_likeness(copies):
    groups = group_photographs(bursts(30, copies), [], no_heartbeat)

    found = groups.reshape(30, copies)
    assert all(len(set(row)) == 1 for row in found.tolist())
    assert len(np.unique(groups)) == 30


def test_photographs_belong_together_by_content_and_by_name():
    different = np.eye(5, 8, dtype=np.float32)
    names = ["a/x_nohash_0.jpg", "a/x_nohash_1.jpg", "a/y.jpg", "b/x.jpg", "b/z.jpg"]

    groups = group_photographs(
        different,
        [[b"1", None, b"2", b"1", None], [shared_name(name) for name in names]],
        no_heartbeat,
    )

    assert groups[0] == groups[1] == groups[3]
    assert len(set(groups.tolist())) == 3


def test_where_everything_looks_alike_likeness_joins_nothing():
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(4, 64)) * 5
    alike = centres[np.arange(400) % 4] + generator.normal(size=(400, 64))

    groups = group_photographs(alike.astype(np.float32), [], no_heartbeat)

    assert len(np.unique(groups)) > 390


def test_one_photograph_is_a_group():
    assert group_photographs(np.ones((1, 4), np.float32), [], no_heartbeat).tolist() == [0]
