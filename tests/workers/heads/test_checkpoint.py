"""Gradient descent that was killed goes on, and ends with the very head it would have had."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.builders.heads import (
    CLOCK_OF_STEPS,
    EMPTY,
    LABELS,
    LONG_FIT,
    TRAINING,
    VALIDATION,
    make_clusters,
)
from tests.builders.paths import ROOT
from workers.errors import StorageError
from workers.heads import sgd
from workers.heads.fit import fit_head
from workers.storage.plan import TrainingOptions

# Fits what this module fits, says each step that is measured, and stays in the middle.
PROGRAM = (
    CLOCK_OF_STEPS
    + """
import sys
from pathlib import Path
from tests.builders.heads import LABELS, LONG_FIT, TRAINING, VALIDATION
from workers.heads.fit import fit_head

checkpoint = Path(sys.argv[1])

def tell(step, head):
    print(step.step, flush=True)
    if step.step == 200:
        time.sleep(600)

fit_head(TRAINING, VALIDATION, len(LABELS), LONG_FIT, lambda: None, tell, checkpoint)
"""
)


def fit(checkpoint=None, training=TRAINING, validation=VALIDATION, options=LONG_FIT):
    """Return a fit and how many steps it did."""
    beats = []
    found = fit_head(
        training,
        validation,
        len(LABELS),
        options,
        lambda: beats.append(1),
        checkpoint=checkpoint,
    )
    return found, len(beats)


def figures_of(curve):
    return [(step.step, step.train_cross_entropy, step.validation_accuracy) for step in curve]


@pytest.fixture(scope="module")
def left_over(tmp_path_factory):
    """The checkpoint of a fit that was killed with SIGKILL in its middle."""
    path = tmp_path_factory.mktemp("killed") / "checkpoint.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    for line in process.stdout:
        if int(line) == 200:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return path


@pytest.fixture(scope="module")
def undisturbed():
    """The fit that nothing happened to, and how many steps it did."""
    return fit()


@pytest.fixture
def killed(left_over, tmp_path):
    """A copy of it, which a test may damage."""
    return Path(shutil.copy(left_over, tmp_path))


def test_a_killed_fit_goes_on_and_ends_with_the_identical_head(killed, undisturbed):
    expected, all_steps = undisturbed

    resumed, steps = fit(killed)

    assert resumed.head.weights.tobytes() == expected.head.weights.tobytes()
    assert resumed.head.bias.tobytes() == expected.head.bias.tobytes()
    assert figures_of(resumed.curve) == figures_of(expected.curve)
    assert all_steps == 600
    assert 400 <= steps < 450


@pytest.mark.parametrize(
    "change",
    [
        {"options": TrainingOptions(solver="sgd", steps=600, learning_rate=0.2)},
        {"options": TrainingOptions(solver="sgd", steps=600, learning_rate=0.1, seed=1)},
        {"training": make_clusters(121, 1)},
        {"training": make_clusters(120, 3)},
        {"validation": make_clusters(81, 2)},
        {"validation": EMPTY},
    ],
    ids=["rate", "seed", "images", "labels", "validation", "nothing held out"],
)
def test_the_checkpoint_of_another_fit_is_ignored(killed, change):
    expected, _ = fit(**change)

    found, steps = fit(killed, **change)

    assert steps == 600
    assert found.head.weights.tobytes() == expected.head.weights.tobytes()


@pytest.mark.parametrize("number", range(12))
def test_a_damaged_checkpoint_is_ignored(killed, undisturbed, number):
    content = bytearray(killed.read_bytes())
    if number < 6:
        killed.write_bytes(content[: len(content) * number // 6])
    else:
        # Bytes of the archive's parts and of its table, one of them in each case.
        place = len(content) * (number - 6) // 6 + 45
        content[place] ^= 0xFF
        killed.write_bytes(content)

    found, _ = fit(killed)

    assert found.head.weights.tobytes() == undisturbed[0].head.weights.tobytes()


def test_something_else_under_its_name_is_ignored(tmp_path):
    path = tmp_path / "checkpoint.npz"
    np.savez(path, weights=np.zeros(3), facts=np.array([{"no": "pickle"}], dtype=object))

    assert fit(path)[1] == 600


def test_a_short_fit_leaves_no_checkpoint(tmp_path):
    fit(tmp_path / "checkpoint.npz")

    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_written_is_an_error_of_the_storage(tmp_path, monkeypatch):
    monkeypatch.setattr(sgd, "CHECKPOINT_EVERY_S", 0)
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="Cannot write"):
        fit(tmp_path / "file" / "checkpoint.npz")
