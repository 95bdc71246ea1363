"""Figures from counts and scores, against scikit-learn and against printed tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from workers.heads.metrics import (
    bin_calibration,
    expected_calibration_error,
    figures_by_label,
    macro_averages,
    wilson_interval,
)

N_LABELS = 5
PAIRS = st.lists(
    st.tuples(st.integers(0, N_LABELS - 1), st.integers(0, N_LABELS - 1)), min_size=1, max_size=60
)
SCORED = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def confuse(pairs):
    confusion = np.zeros((N_LABELS, N_LABELS), np.int64)
    for true, predicted in pairs:
        confusion[true, predicted] += 1
    return confusion


def with_none(values):
    return [None if np.isnan(value) else pytest.approx(value) for value in values]


@given(PAIRS)
def test_figures_of_each_label_are_those_of_scikit_learn(pairs):
    from sklearn.metrics import precision_recall_fscore_support

    true, predicted = zip(*pairs, strict=True)
    expected = precision_recall_fscore_support(
        true, predicted, labels=range(N_LABELS), zero_division=np.nan
    )

    found = figures_by_label(confuse(pairs))

    assert [row.precision for row in found] == with_none(expected[0])
    assert [row.recall for row in found] == with_none(expected[1])
    assert [row.f1 for row in found] == with_none(expected[2])
    assert [row.support for row in found] == expected[3].tolist()


@given(PAIRS)
def test_macro_averages_are_those_of_scikit_learn(pairs):
    from sklearn.metrics import precision_recall_fscore_support

    true, predicted = zip(*pairs, strict=True)
    expected = precision_recall_fscore_support(
        true, predicted, labels=range(N_LABELS), zero_division=np.nan, average="macro"
    )

    found = macro_averages(figures_by_label(confuse(pairs)))

    assert [found[name] for name in ("precision", "recall", "f1")] == with_none(expected[:3])


def test_nothing_predicted_and_nothing_there_leave_figures_undefined():
    only_first, *others = figures_by_label(confuse([(0, 0)]))

    assert (only_first.precision, only_first.recall, only_first.f1) == (1, 1, 1)
    assert {(row.precision, row.recall, row.f1, row.support) for row in others} == {
        (None, None, None, 0)
    }
    assert macro_averages(figures_by_label(confuse([]))) == {
        "precision": None,
        "recall": None,
        "f1": None,
    }


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_scipy_and_holds_the_share(counts):
    successes, trials = counts
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")

    low, high = wilson_interval(successes, trials)

    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= successes / trials <= high <= 1


def test_no_trials_have_no_interval():
    assert wilson_interval(0, 0) is None


@given(SCORED)
def test_the_calibration_error_is_what_its_definition_says(rows):
    scores, is_right = (np.array(column) for column in zip(*rows, strict=True))
    bins = bin_calibration(scores, is_right)

    expected = 0.0
    for place in range(15):
        low, high = place / 15, (place + 1) / 15
        inside = [
            (score, right)
            for score, right in rows
            if min(int(score * 15), 14) == place and low - 1e-9 <= score <= high + 1e-9
        ]
        gap = sum(score for score, _ in inside) - sum(right for _, right in inside)
        expected += abs(gap) / len(rows)

    assert sum(one.count for one in bins) == len(rows)
    assert expected_calibration_error(bins) == pytest.approx(expected)


def test_scores_that_mean_what_they_say_have_a_small_error_and_bold_ones_a_large_one():
    generator = np.random.default_rng(0)
    scores = generator.uniform(0.5, 1, 50_000)
    is_right = generator.uniform(size=50_000) < scores

    honest = expected_calibration_error(bin_calibration(scores, is_right))
    bold = expected_calibration_error(bin_calibration(np.full(50_000, 0.99), is_right))

    assert honest < 0.01
    assert bold == pytest.approx(0.99 - is_right.mean())


def test_empty_bins_have_no_figures_and_no_images_no_error():
    bins = bin_calibration(np.array([1.0]), np.array([True]))

    assert [(one.mean_score, one.accuracy) for one in bins[:-1]] == [(None, None)] * 14
    assert (bins[-1].count, bins[-1].mean_score, bins[-1].accuracy) == (1, 1, 1)
    assert expected_calibration_error(bin_calibration(np.empty(0), np.empty(0, bool))) is None
