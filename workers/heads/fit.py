"""Fit a head: solve the convex problem, or descend step by step as the codelab does.

With NumPy and SciPy rather than TensorFlow: 3,670 x 512 bottlenecks with 5 labels take 0.4 s
including the choice of L2, while importing TensorFlow alone takes 4 to 11 s.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from workers.heads.guesses import log_loss
from workers.heads.head import Examples, Head
from workers.heads.lbfgs import Figures, OnIteration, Problem, ignore_iteration
from workers.heads.learning_curve import OnStep, Step, Task, ignore_step, measure_head
from workers.heads.sgd import descend
from workers.heads.temperature import divide_logits
from workers.processes.capacity import find_capacity
from workers.processes.heartbeat import Heartbeat
from workers.storage.plan import TrainingOptions

# Strengths of the L2 penalty to try, strongest first so that each fit starts from the one
# before; the log loss on the validation split chooses.
L2_STRENGTHS = tuple(10.0 ** (half / 2) for half in range(1, -11, -1))
# For want of a validation split; right for hundreds of images.
L2_WITHOUT_VALIDATION = 10.0**-2
# Most examples that the strength is chosen on: it hardly depends on their number.
_CHOICE_EXAMPLES = 20_000
# The best strength shows before each problem is solved exactly: 3,000 x 512 with 100 labels
# took 166 evaluations of the loss, 212 with a tenth of this.
_CHOICE_TOLERANCE = 1e-6
# Held-out examples that each point of the learning curve of L-BFGS is measured on.
_CURVE_EXAMPLES = 1_000
# Smaller problems run in one thread: with two, 3,332 x 512 and 5 labels took 0.30 rather
# than 0.41 s, but 12 rather than 0.7 s while other programs kept both cores busy.
_MANY_MULTIPLICATIONS = 10**9


@dataclass(frozen=True)
class Fit:
    """A fitted head, the solver's settings, and its learning curve."""

    head: Head
    details: dict[str, float | str]
    curve: list[Step]


def fit_head(
    training: Examples,
    validation: Examples,
    n_labels: int,
    options: TrainingOptions,
    heartbeat: Heartbeat,
    on_step: OnStep = ignore_step,
    checkpoint: Path | None = None,
    heads: Path | None = None,
) -> Fit:
    """Fit a head with the solver that `options` names; the same input gives the same head.

    Args:
        on_step, checkpoint, heads: See `Task`.
    """
    with _fitting_threads(training, n_labels):
        task = Task(training, validation, n_labels, options, heartbeat, on_step, checkpoint, heads)
        return SOLVERS[options.solver](task)


def fit_at_strength(
    training: Examples,
    n_labels: int,
    strength: float,
    options: TrainingOptions,
    heartbeat: Heartbeat,
    on_iteration: OnIteration = ignore_iteration,
) -> Head:
    """Solve the convex problem with one given strength of L2.

    Args:
        on_iteration: See `Problem.solve`.
    """
    with _fitting_threads(training, n_labels):
        problem = Problem(training, n_labels, heartbeat, options.class_weight)
        return problem.head(problem.solve(strength, np.zeros(problem.size), on_iteration))


def fit_alike(
    fit: Fit, training: Examples, n_labels: int, options: TrainingOptions, heartbeat: Heartbeat
) -> Head:
    """Return a head that is fitted to other examples as `fit` was: same L2, same temperature."""
    if "l2" in fit.details:
        strength = float(fit.details["l2"])
        head = fit_at_strength(training, n_labels, strength, options, heartbeat)
    else:
        none = Examples(training.bottlenecks[:0], training.labels[:0], [])
        silent = replace(options, eval_step_interval=options.steps, store_interval=0)
        head = fit_head(training, none, n_labels, silent, heartbeat).head
    return divide_logits(head, float(fit.details.get("temperature", 1.0)))


@contextmanager
def _fitting_threads(training: Examples, n_labels: int) -> Iterator[None]:
    # Threads can be limited only in a library that is loaded.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    if training.bottlenecks.size * n_labels < _MANY_MULTIPLICATIONS:
        with threadpool_limits(1, "blas"):
            yield
        return
    # In a container BLAS would start a thread for each core of the host.
    with threadpool_limits(find_capacity().usable_cores, "blas"), limit_scipy():
        yield


def limit_scipy() -> AbstractContextManager[object]:
    """Let SciPy's own copy of BLAS, if it has one, use one thread, and NumPy's use all.

    The threads of the two copies spin while they wait for each other: 20,000 x 512 and 100
    labels took 24 s at one strength with two threads for both, 10 s with one for SciPy's.
    """
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(user_api="blas")
    paths = [library["filepath"] for library in blas.info() if "/scipy" in library["filepath"]]
    return cast(AbstractContextManager[object], blas.select(filepath=paths).limit(limits=1))


def _fit_lbfgs(task: Task) -> Fit:
    problem = Problem(task.training, task.n_labels, task.heartbeat, task.options.class_weight)
    start = np.zeros(problem.size)
    strength = L2_WITHOUT_VALIDATION
    observed = _sample(task.validation, _CURVE_EXAMPLES, [task.options.seed, 1])
    curve: list[Step] = []
    if len(task.validation):
        strength, start, curve = _choose_strength(task, observed)
    # Only now, since the curves of the other strengths are not reported.
    for step in curve:
        task.on_step(step, None)

    def on_iteration(head: Head, figures: Figures) -> None:
        curve.append(_measure(len(curve), head, figures, observed))
        task.on_step(curve[-1], head)

    head = problem.head(problem.solve(strength, start, on_iteration))
    return Fit(head, {"solver": "lbfgs", "l2": strength}, curve)


def _measure(step: int, head: Head, figures: Figures, held_out: Examples) -> Step:
    if not len(held_out):
        return Step(step, *figures, time=time.time())
    measured = measure_head(head, held_out.bottlenecks, held_out.labels)
    return Step(step, *figures, *measured, len(held_out), time.time())


def _sample(examples: Examples, most: int, seed: int | list[int]) -> Examples:
    if len(examples) <= most:
        return examples
    chosen = np.sort(np.random.default_rng(seed).choice(len(examples), most, replace=False))
    return Examples(examples.bottlenecks[chosen], examples.labels[chosen], [])


class _Trial(NamedTuple):
    """A strength of L2 that was tried; `steps` of the curve lead to its solution."""

    loss: float
    strength: float
    solution: NDArray[np.float64]
    steps: int


def _choose_strength(
    task: Task, observed: Examples
) -> tuple[float, NDArray[np.float64], list[Step]]:
    """Return the best strength, its rough solution, and the curve that led there."""
    training = _sample(task.training, _CHOICE_EXAMPLES, task.options.seed)
    problem = Problem(training, task.n_labels, task.heartbeat, task.options.class_weight)
    solution = np.zeros(problem.size)
    trials: list[_Trial] = []
    curve: list[Step] = []

    def on_iteration(head: Head, figures: Figures) -> None:
        curve.append(_measure(len(curve), head, figures, observed))

    for strength in L2_STRENGTHS:
        solution = problem.solve(strength, solution, on_iteration, _CHOICE_TOLERANCE)
        loss = log_loss(problem.head(solution), task.validation, task.heartbeat)
        trials.append(_Trial(loss, strength, solution, len(curve)))
        best = min(trials, key=lambda trial: trial.loss)
        # The loss has one minimum in the strength; stop once well past it.
        if loss > 1.05 * best.loss + 1e-6:
            break
    return best.strength, best.solution, curve[: best.steps]


def _fit_sgd(task: Task) -> Fit:
    head, curve = descend(task)
    settings = {"steps": task.options.steps, "learning_rate": task.options.learning_rate}
    return Fit(head, {"solver": "sgd", **settings}, curve)


SOLVERS = {"lbfgs": _fit_lbfgs, "sgd": _fit_sgd}
