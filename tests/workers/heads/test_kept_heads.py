"""Heads on the way of a gradient descent are those that a shorter descent ends with."""

import numpy as np
import pytest

from tests.builders.heads import LABELS, TRAINING, VALIDATION
from workers.errors import StorageError
from workers.heads.fit import fit_head
from workers.heads.head import Head
from workers.heads.sgd import keep_head, list_kept
from workers.storage.plan import TrainingOptions


def fit(folder, **options):
    wanted = TrainingOptions(learning_rate=0.1, **options)
    return fit_head(TRAINING, VALIDATION, len(LABELS), wanted, lambda: None, heads=folder).head


def test_a_kept_head_is_the_one_of_a_fit_that_ended_there(tmp_path):
    fit(tmp_path / "heads", solver="sgd", steps=36, store_interval=15, eval_step_interval=7)

    kept = list_kept(tmp_path / "heads")
    assert list(kept) == [15, 30]
    for step, path in kept.items():
        # Step 15 is the sixteenth: the codelab counts from 0.
        alone = fit(tmp_path / "none", solver="sgd", steps=step + 1)
        with np.load(path, allow_pickle=False) as arrays:
            np.testing.assert_array_equal(arrays["weights"], alone.weights)
            np.testing.assert_array_equal(arrays["bias"], alone.bias)


@pytest.mark.parametrize("options", [{"solver": "sgd", "steps": 36}, {"store_interval": 1}])
def test_without_an_interval_or_steps_no_head_is_kept(tmp_path, options):
    fit(tmp_path / "heads", **options)

    assert list_kept(tmp_path / "heads") == {}


def test_keeping_heads_does_not_change_the_head(tmp_path):
    plain = fit(tmp_path / "none", solver="sgd", steps=36)

    watched = fit(tmp_path / "heads", solver="sgd", steps=36, store_interval=5)

    np.testing.assert_array_equal(watched.weights, plain.weights)


def test_a_storage_that_refuses_is_an_error_of_ours(tmp_path):
    (tmp_path / "heads").write_text("a file")

    with pytest.raises(StorageError):
        keep_head(tmp_path / "heads", 1, Head(np.zeros((2, 2)), np.zeros(2)))
