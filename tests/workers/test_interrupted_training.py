"""A trainer that is killed in the middle of gradient descent, and the one that comes after it."""

import csv
import signal
import subprocess
import sys

import pytest

from tests.builders.datasets import make_data_set
from tests.builders.heads import CLOCK_OF_STEPS
from tests.builders.paths import ROOT
from tests.builders.runs import compute_run, make_run, train
from workers.errors import LeaseLostError
from workers.heads import sgd
from workers.heads.learning_curve import read_steps
from workers.heads.model_folder import load_model
from workers.storage.plan import TrainingOptions

OPTIONS = TrainingOptions(solver="sgd", steps=600, learning_rate=0.1)
# A trainer that says when it is in the middle, and stays there.
PROGRAM = (
    CLOCK_OF_STEPS
    + """
import sys
from pathlib import Path
from workers.heads.learning_curve import read_steps
from workers.storage.layout import Storage
from workers.storage.plan import Run
from workers.training import train_run

run = Run.open(Storage(Path(sys.argv[1])), sys.argv[2])

def heartbeat():
    if run.folder.checkpoint.exists() and len(read_steps(run.folder.steps)) > 20:
        print("here", flush=True)
        time.sleep(600)

train_run(run, heartbeat, lambda: None)
"""
)


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


def planned(storage, photos, name):
    run = make_run(storage, photos, name, options=OPTIONS)
    compute_run(run)
    return run


def kill_in_the_middle(storage, run):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(storage.root), run.name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL


def curve_of(run):
    with open(run.folder.model / "curve.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_next_trainer_goes_on_and_the_model_is_the_same(ready_storage, photos):
    undisturbed = planned(ready_storage, photos, "undisturbed")
    train(undisturbed)
    run = planned(ready_storage, photos, "run")
    kill_in_the_middle(ready_storage, run)
    before = len(list((run.folder.summaries / "train").iterdir()))

    train(run)

    expected, found = load_model(undisturbed.folder.model).head, load_model(run.folder.model).head
    assert found.weights.tobytes() == expected.weights.tobytes()
    assert found.bias.tobytes() == expected.bias.tobytes()
    assert curve_of(run) == curve_of(undisturbed)
    assert not run.folder.checkpoint.exists()
    # The files of the killed one stay, and what it told on the way is told once.
    assert len(list((run.folder.summaries / "train").iterdir())) == before + 1
    assert [step.step for step in read_steps(run.folder.steps)] == [*range(0, 600, 10), 599]


def test_a_trainer_that_may_not_commit_leaves_the_checkpoint(ready_storage, photos, monkeypatch):
    monkeypatch.setattr(sgd, "CHECKPOINT_EVERY_S", 0)
    run = planned(ready_storage, photos, "run")

    def refuse():
        raise LeaseLostError("taken over")

    with pytest.raises(LeaseLostError):
        train(run, refuse)

    assert run.folder.checkpoint.exists()
    train(run)
    assert not run.folder.checkpoint.exists()
