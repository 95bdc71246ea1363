"""The learning curve: what it measures, that it changes no head, and how it is read on the way."""

import re

import numpy as np
import pytest

from tests.builders.heads import EMPTY, LABELS, SGD, figures, make_clusters
from workers.errors import StorageError
from workers.heads.fit import fit_head
from workers.heads.learning_curve import Step, StepLog, describe_step, read_steps
from workers.processes.heartbeat import no_heartbeat
from workers.storage.plan import TrainingOptions

TRAINING, VALIDATION = make_clusters(120, 1), make_clusters(80, 2)


def watched_fit(options=None, validation=VALIDATION):
    """Return a fit, and what was told on the way: steps with copies of their heads."""
    told = []

    def on_step(step, head):
        told.append((step, None if head is None else (head.weights.copy(), head.bias.copy())))

    options = options or TrainingOptions()
    return fit_head(TRAINING, validation, len(LABELS), options, no_heartbeat, on_step), told


def sgd(**options):
    return TrainingOptions(solver="sgd", learning_rate=0.1, **options)


@pytest.mark.parametrize("options", [TrainingOptions(), SGD], ids=["lbfgs", "sgd"])
def test_watching_a_fit_does_not_change_its_head(options):
    alone = fit_head(TRAINING, VALIDATION, len(LABELS), options, no_heartbeat)

    watched, told = watched_fit(options)

    assert told
    assert watched.head.weights.tobytes() == alone.head.weights.tobytes()
    assert watched.head.bias.tobytes() == alone.head.bias.tobytes()


@pytest.mark.parametrize("interval, size", [(1, 100), (7, 5), (1000, -1), (10, 0)])
def test_the_head_does_not_depend_on_how_it_is_evaluated(interval, size):
    expected = watched_fit(sgd(steps=50))[0].head

    found = watched_fit(sgd(steps=50, eval_step_interval=interval, validation_batch_size=size))

    assert found[0].head.weights.tobytes() == expected.weights.tobytes()


def test_sgd_is_measured_every_ten_steps_and_at_the_last_as_in_the_codelab():
    fit, told = watched_fit(sgd(steps=36))

    assert [step.step for step, _ in told] == [0, 10, 20, 30, 35]
    assert fit.curve == [step for step, _ in told]


def test_sgd_shows_the_batch_of_the_step_with_the_head_after_it():
    options = sgd(steps=3, eval_step_interval=1, train_batch_size=len(TRAINING))
    _, told = watched_fit(options)
    # The batches, drawn again as the solver does, behind the numbers of its first weights.
    generator = np.random.default_rng(options.seed)
    generator.normal(0, 0.001, (TRAINING.bottlenecks.shape[1], len(LABELS)))

    for step, (weights, bias) in told:
        chosen = generator.integers(0, len(TRAINING), len(TRAINING))
        logits = TRAINING.bottlenecks[chosen].astype(np.float64) @ weights + bias
        own = logits[np.arange(len(chosen)), TRAINING.labels[chosen]]
        loss = np.mean(np.log(np.exp(logits).sum(axis=1)) - own)
        accuracy = np.mean(logits.argmax(axis=1) == TRAINING.labels[chosen])
        assert step.train_accuracy == pytest.approx(accuracy)
        assert step.train_cross_entropy == pytest.approx(loss, rel=1e-4)


def test_the_whole_validation_split_can_be_looked_at():
    fit, told = watched_fit(sgd(steps=21, validation_batch_size=-1))

    accuracy, loss = figures(fit.head, VALIDATION)
    last = told[-1][0]
    assert last.validation_images == len(VALIDATION)
    assert last.validation_accuracy == pytest.approx(accuracy)
    assert last.validation_cross_entropy == pytest.approx(loss, rel=1e-4)


def test_a_random_part_of_the_validation_split_is_looked_at_otherwise():
    many = [step for step, _ in watched_fit(sgd(steps=200, validation_batch_size=20))[1]]

    assert {step.validation_images for step in many} == {20}
    assert all(round(step.validation_accuracy * 20, 6).is_integer() for step in many)
    assert len({step.validation_accuracy for step in many[-10:]}) > 1


@pytest.mark.parametrize("options", [TrainingOptions(), SGD], ids=["lbfgs", "sgd"])
def test_without_a_validation_split_there_are_no_figures_for_it(options):
    fit, _ = watched_fit(options, EMPTY)

    assert fit.curve
    assert {step.validation_accuracy for step in fit.curve} == {None}
    assert {step.validation_images for step in fit.curve} == {0}


def test_lbfgs_is_measured_at_each_iteration_on_everything():
    fit, told = watched_fit()

    assert [step.step for step, _ in told] == list(range(len(told)))
    assert fit.curve == [step for step, _ in told]
    assert len(told) > 5
    # Its last iteration is where the head is.
    last = fit.curve[-1]
    accuracy, loss = figures(fit.head, TRAINING)
    assert last.train_accuracy == pytest.approx(accuracy)
    assert last.train_cross_entropy == pytest.approx(loss, rel=1e-4)
    accuracy, loss = figures(fit.head, VALIDATION)
    assert last.validation_accuracy == pytest.approx(accuracy)
    assert last.validation_cross_entropy == pytest.approx(loss, rel=1e-4)
    assert last.train_cross_entropy < fit.curve[0].train_cross_entropy


def test_the_curve_of_lbfgs_leaves_out_strengths_that_were_tried_in_vain():
    fit, _ = watched_fit()

    # Weaker ones than the chosen one fit the training images better.
    assert fit.curve[-1].train_cross_entropy == pytest.approx(
        min(step.train_cross_entropy for step in fit.curve), rel=0.02
    )


FIRST = Step(0, 0.1 + 0.2, 1.25, 1 / 3, 2.0, 100, 1795500000.123456)
SECOND = Step(10, 0.75, float("nan"), None, None, 0, 1795500001.5)


def same(found, expected):
    return repr(found) == repr(expected)  # NaN is not equal to itself


def test_steps_can_be_read_as_soon_as_they_are_there(tmp_path):
    path = tmp_path / "steps.csv"
    assert read_steps(path) == []

    with StepLog(path) as log:
        assert read_steps(path) == []
        log.add(FIRST)
        assert read_steps(path) == [FIRST]
        log.add(SECOND)
        assert same(read_steps(path), [FIRST, SECOND])


def test_half_a_line_is_not_read(tmp_path):
    path = tmp_path / "steps.csv"
    with StepLog(path) as log:
        log.add(FIRST)
        log.add(SECOND)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1

    for length in range(start, len(whole)):
        path.write_bytes(whole[:length])
        assert read_steps(path) == [FIRST]


def test_another_attempt_goes_on_behind_what_a_killed_one_left(tmp_path):
    path = tmp_path / "steps.csv"
    with StepLog(path) as log:
        log.add(FIRST)
    with path.open("ab") as file:
        file.write(b"10,0.7")

    with StepLog(path) as log:
        log.add(FIRST)
        log.add(SECOND)

    assert same(read_steps(path), [FIRST, SECOND])


def test_lines_that_nobody_could_have_written_are_left_out(tmp_path):
    path = tmp_path / "steps.csv"
    with StepLog(path) as log:
        log.add(FIRST)
    with path.open("ab") as file:
        file.write(b"\xff\xfe,1,1,1,1,1,1\n1,2,3\n,,,,,,\n")

    assert read_steps(path) == [FIRST]


def test_a_log_that_cannot_be_written_is_an_error_of_the_storage(tmp_path):
    (tmp_path / "steps.csv").mkdir()

    with pytest.raises(StorageError, match=r"Cannot write .*steps\.csv: Is a directory"):
        StepLog(tmp_path / "steps.csv")


def test_a_step_is_told_in_the_words_of_the_codelab():
    lines = describe_step(Step(10, 0.92, 0.3412345, 0.88, 0.5, 100, 1795500000.123456))

    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.123456"
    assert re.fullmatch(rf"{when}: Step 10: Train accuracy = 92\.0%", lines[0])
    assert re.fullmatch(rf"{when}: Step 10: Cross entropy = 0\.341234", lines[1])
    assert re.fullmatch(rf"{when}: Step 10: Validation accuracy = 88\.0% \(N=100\)", lines[2])
    assert len(lines) == 3
    assert len(describe_step(SECOND)) == 2
