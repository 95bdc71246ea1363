"""The grid of a sweep, and what is refused before any work."""

import pytest

from orchestrator.jobs.submit import open_training
from orchestrator.jobs.sweep import _points, _rank, sweep_run
from tests.builders.backbones import ARCHITECTURE
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.errors import RefusedError, RunError, UsageError
from workers.settings import Settings
from workers.storage.plan import TrainingOptions


def nothing(_):
    """Show no progress."""


@pytest.fixture
def run(storage, tmp_path):
    return make_run(storage, make_data_set(tmp_path / "photos"))


def sweep(storage, run, **grid):
    return sweep_run(Settings(storage.root), run, grid, None, nothing)


def test_a_grid_has_a_point_for_each_combination():
    points = list(_points({"learning_rate": [0.1, 1.0], "steps": [5, 9]}))

    assert len(points) == 4
    assert points[0] == {"learning_rate": 0.1, "steps": 5, "solver": "sgd"}


def test_what_a_solver_does_not_obey_makes_no_further_trials():
    points = list(_points({"solver": ["lbfgs", "sgd"], "learning_rate": [0.1, 1.0]}))

    assert points == [
        {"solver": "lbfgs"},
        {"solver": "sgd", "learning_rate": 0.1},
        {"solver": "sgd", "learning_rate": 1.0},
    ]


def test_the_best_is_the_most_accurate_then_the_surest_then_the_smallest():
    def row(trial, accuracy=0.9, loss=0.3, size=5):
        figures = {"validation_accuracy": accuracy, "validation_log_loss": loss}
        return {"trial": trial, **figures, "size_bytes": size}

    rows = [row(1, accuracy=0.8), row(2, size=9), row(3), row(4, loss=0.2), row(5, accuracy=0.95)]
    rows += [{"trial": 6, "error": "diverged"}]

    assert [row["trial"] for row in sorted(rows, key=_rank)] == [5, 4, 3, 2, 1, 6]


def test_a_grid_that_is_too_large_is_refused_before_any_work(storage, run):
    with pytest.raises(UsageError, match="has 1000 points"):
        sweep(storage, "run", steps=list(range(1, 1001)))

    assert [path.name for path in storage.runs.iterdir()] == ["run"]


def test_a_run_without_validation_images_is_refused(storage, tmp_path):
    options = TrainingOptions(validation_percentage=0)
    make_run(storage, make_data_set(tmp_path / "photos"), options=options)

    with pytest.raises(RefusedError, match="no validation images"):
        sweep(storage, "run", steps=[5])


def test_a_run_that_does_not_exist_is_refused(storage):
    with pytest.raises(RunError, match="There is no run 'nope'"):
        sweep(storage, "nope", steps=[5])


def test_an_architecture_that_does_not_exist_is_refused(storage, run):
    with pytest.raises(UsageError, match=ARCHITECTURE):
        sweep(storage, "run", architecture=["mobilenet_0.25_182"])


def test_a_run_that_trains_has_its_options(storage, run):
    assert open_training(storage, "run") == (run, run.plan.training)
