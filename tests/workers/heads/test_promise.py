"""The promised precision: its bound, how many photographs it takes, and that it is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from tests.builders.heads import LABELS, make_clusters
from workers.bottlenecks.gathering import Gathered
from workers.bottlenecks.pooling import pool_photographs
from workers.heads.fit import fit_alike, fit_head
from workers.heads.guesses import best_labels, guess_labels
from workers.heads.head import Examples
from workers.heads.out_of_fold import guess_out_of_fold
from workers.heads.promise import find_promise, lower_bounds, photographs_needed
from workers.processes.heartbeat import no_heartbeat
from workers.storage.plan import TrainingOptions


def promise(right, target, wrong_below=()):
    """Return the promise of photographs that are all right but those at these positions."""
    scores = np.linspace(1, 0.5, right)
    is_right = np.ones(right, np.bool_)
    is_right[list(wrong_below)] = False
    return find_promise(scores, is_right, target)


@pytest.mark.parametrize(("target", "needed"), [(0.98, 149), (0.95, 59), (0.5, 5), (1, None)])
def test_a_precision_takes_some_photographs_even_without_a_mistake(target, needed):
    assert photographs_needed(target) == needed
    if needed:
        few, enough = promise(needed - 1, target), promise(needed, target)
        assert (few.threshold, few.needed, few.judged) == (None, needed, needed - 1)
        assert few.bound < target <= enough.bound
        assert (enough.threshold, enough.sure, enough.coverage) == (0.5, needed, 1)


def test_nothing_is_promised_without_photographs_nor_for_certain():
    nothing = promise(0, 0.95)
    assert (nothing.threshold, nothing.bound, nothing.judged, nothing.coverage) == (
        None,
        None,
        0,
        0,
    )
    certain = promise(100_000, 1)
    assert (certain.threshold, certain.needed) == (None, None)
    assert certain.bound > 0.9999


def test_the_bound_is_that_of_clopper_and_pearson():
    for right, sure in ((59, 59), (148, 149), (1, 40), (300, 310)):
        [found] = lower_bounds(np.array([right]), np.array([sure]))
        assert found == pytest.approx(beta.ppf(0.05, right, sure - right + 1))
    assert lower_bounds(np.array([0]), np.array([9])) == 0


def test_a_mistake_costs_photographs_and_the_best_bound_is_said_where_it_costs_too_many():
    early = promise(200, 0.98, [3])
    assert early.threshold is None
    assert early.judged == 200 > early.needed
    assert (early.right, early.sure) == (199, 200)
    assert early.bound == pytest.approx(beta.ppf(0.05, 199, 2), abs=1e-6)
    late = promise(200, 0.98, [180])
    assert (late.right, late.sure) == (149, 149)


def test_the_first_size_that_fails_ends_it_even_if_a_larger_one_would_do():
    # 74 are the second size: one mistake is too many for them, but not for 400.
    found = promise(400, 0.95, [70])

    assert (found.right, found.sure) == (59, 59)
    assert lower_bounds(np.array([399]), np.array([400])) > 0.95


def test_photographs_with_one_score_are_sure_together():
    scores = np.repeat([0.9, 0.8], [70, 30])
    is_right = np.arange(100) < 65  # of the first 70, five are wrong

    assert find_promise(scores, is_right, 0.95).threshold is None
    assert find_promise(scores, is_right, 0.8).threshold == 0.9


@given(
    st.lists(st.tuples(st.sampled_from([0.4, 0.5, 0.7, 0.9]), st.booleans()), max_size=80),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_the_sure_photographs_show_what_is_promised(rows, target):
    scores = np.array([score for score, _ in rows])
    is_right = np.array([right for _, right in rows], np.bool_)

    found = find_promise(scores, is_right, target)

    if found.threshold is None:
        assert found.bound is None or found.bound < target
        return
    sure = is_right[scores >= found.threshold]
    assert (found.sure, found.right) == (len(sure), sure.sum())
    assert found.bound >= target
    assert found.bound == pytest.approx(beta.ppf(0.05, sure.sum(), (~sure).sum() + 1), abs=1e-6)


def promise_of(seed, target):
    """Return the promise of one seed, and the precision on 4,000 photographs that nobody saw.

    And the precision there above the lowest score that reaches the target on validation alone.
    """
    drawn, options = make_clusters(500, seed), TrainingOptions(seed=seed)
    training, validation = (
        Examples(drawn.bottlenecks[rows], drawn.labels[rows], drawn.paths[rows])
        for rows in (slice(60, None), slice(60))
    )
    fit = fit_head(training, validation, len(LABELS), options, no_heartbeat)
    gathered = Gathered(
        {"training": training, "validation": validation},
        digests={"training": [None] * len(training), "validation": [None] * len(validation)},
        is_variant=np.zeros(len(training), np.bool_),
    )
    unseen = guess_out_of_fold(
        pool_photographs(gathered, seed, no_heartbeat),
        len(LABELS),
        seed,
        lambda part: fit_alike(fit, part, len(LABELS), options, no_heartbeat),
        no_heartbeat,
    )

    def judge(examples):
        _, scores, is_right = best_labels(guess_labels(fit.head, examples, no_heartbeat))
        return scores.round(6), is_right

    scores, is_right = judge(validation)
    naive = min(score for score in scores if is_right[scores >= score].mean() >= target)
    scores, is_right = judge(make_clusters(4000, 1000 + seed))
    found = find_promise(unseen.scores, unseen.is_right, target)
    precision = found.threshold and is_right[scores >= found.threshold].mean()
    return found, precision, is_right[scores >= naive].mean()


def test_what_is_promised_is_kept_on_unseen_photographs():
    found = [promise_of(seed, 0.9) for seed in range(6)]

    kept = [precision >= 0.9 for promise, precision, _ in found if promise.threshold]
    assert len(kept) == 6
    assert sum(kept) >= len(kept) - 1
    # What the validation split alone suggests is kept far less often.
    assert sum(naive >= 0.9 for *_, naive in found) <= 3
