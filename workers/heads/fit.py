"""Fit a head: the convex problem solved properly, or the codelab's gradient descent.

NumPy and SciPy rather than TensorFlow: 3,670 x 512 bottlenecks with 5 labels take 0.4 s, the
choice of L2 included, while importing TensorFlow alone takes 4 to 11 s.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from workers.heads.evaluate import log_loss
from workers.heads.head import Examples, Head
from workers.heads.lbfgs import Problem
from workers.heads.learning_curve import KeepHead, OnStep, Step, Watch, ignore_step, keep_no_head
from workers.heads.sgd import descend
from workers.processes.capacity import find_capacity
from workers.processes.heartbeat import Heartbeat
from workers.storage.plan import TrainingOptions

# Strengths of the L2 penalty that are tried, strongest first so that each fit starts
# from the one before; chosen by the log loss on the validation split.
L2_STRENGTHS = tuple(10.0 ** (half / 2) for half in range(1, -11, -1))
# Without a validation split nothing can choose; this is right for hundreds of images.
L2_WITHOUT_VALIDATION = 10.0**-2
# The strength is chosen on at most so many examples: it hardly depends on the number.
_CHOICE_EXAMPLES = 20_000
# Which is best shows before each is solved to the end: 3,000 x 512 with 100 labels took 166
# looks at the loss, 212 with a tenth of this.
_CHOICE_TOLERANCE = 1e-6
# Held-out examples that the learning curve of L-BFGS looks at, always the same ones.
_CURVE_EXAMPLES = 1_000
# Below this all runs in one thread: with two, 3,332 x 512 and 5 labels took 0.30 rather
# than 0.41 s, but 12 rather than 0.7 s while others kept both cores busy.
_MANY_MULTIPLICATIONS = 10**9


@dataclass(frozen=True)
class Fit:
    """A fitted head and how it came about."""

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
    keep_head: KeepHead = keep_no_head,
) -> Fit:
    """Fit a head with the solver that `options` names; the same input gives the same head.

    Args:
        heartbeat, on_step, checkpoint, keep_head: See `Watch`.

    Raises:
        StorageError: When the storage refuses the checkpoint.
    """
    with _fitting_threads(training, n_labels):
        watch = Watch(heartbeat, on_step, checkpoint, keep_head)
        return SOLVERS[options.solver](training, validation, n_labels, options, watch)


def fit_at_strength(
    training: Examples,
    n_labels: int,
    strength: float,
    options: TrainingOptions,
    heartbeat: Heartbeat,
    note: Callable[[Head], None] = lambda head: None,
) -> Head:
    """Solve the convex problem with one given strength of L2, without choosing any.

    Args:
        note: Called with the head after each iteration.
    """
    with _fitting_threads(training, n_labels):
        problem = Problem(training, n_labels, heartbeat, options.class_weight)
        return problem.head(problem.solve(strength, np.zeros(problem.size), note))


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
    """Let SciPy's own copy of BLAS, where it has one, use one thread, and NumPy's all.

    The threads of two copies wait for each other, spinning: 20,000 x 512 and 100 labels took
    24 s at one strength with two threads for both, 10 s with one.
    """
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(user_api="blas")
    paths = [library["filepath"] for library in blas.info() if "/scipy" in library["filepath"]]
    return cast(AbstractContextManager[object], blas.select(filepath=paths).limit(limits=1))


def _fit_lbfgs(
    training: Examples,
    validation: Examples,
    n_labels: int,
    options: TrainingOptions,
    watch: Watch,
) -> Fit:
    problem = Problem(training, n_labels, watch.heartbeat, options.class_weight)
    start = np.zeros(problem.size)
    strength = L2_WITHOUT_VALIDATION
    observed = _observed_part(validation, options.seed)
    curve: list[Step] = []
    if len(validation):
        strength, start, curve = _choose_strength(
            training, validation, observed, n_labels, options, watch.heartbeat
        )
    # They are known only now: those of strengths that were tried in vain are no way here.
    for step in curve:
        watch.on_step(step, None)

    def note(head: Head) -> None:
        curve.append(problem.measure(len(curve), head, observed))
        watch.on_step(curve[-1], head)

    head = problem.head(problem.solve(strength, start, note))
    return Fit(head, {"solver": "lbfgs", "l2": strength}, curve)


def _observed_part(validation: Examples, seed: int) -> Examples:
    if len(validation) <= _CURVE_EXAMPLES:
        return validation
    generator = np.random.default_rng([seed, 1])
    chosen = np.sort(generator.choice(len(validation), _CURVE_EXAMPLES, replace=False))
    return Examples(validation.bottlenecks[chosen], validation.labels[chosen], [])


def _choose_strength(
    training: Examples,
    validation: Examples,
    observed: Examples,
    n_labels: int,
    options: TrainingOptions,
    heartbeat: Heartbeat,
) -> tuple[float, NDArray[np.float64], list[Step]]:
    if len(training) > _CHOICE_EXAMPLES:
        generator = np.random.default_rng(options.seed)
        chosen = np.sort(generator.choice(len(training), _CHOICE_EXAMPLES, replace=False))
        training = Examples(training.bottlenecks[chosen], training.labels[chosen], [])
    problem = Problem(training, n_labels, heartbeat, options.class_weight)
    solution = np.zeros(problem.size)
    tried = []
    curve: list[Step] = []

    def note(head: Head) -> None:
        curve.append(problem.measure(len(curve), head, observed))

    for strength in L2_STRENGTHS:
        solution = problem.solve(strength, solution, note, _CHOICE_TOLERANCE)
        loss = log_loss(problem.head(solution), validation, heartbeat)
        tried.append((loss, strength, solution, len(curve)))
        # The loss is convex-like in the strength: once well past its minimum, stop.
        if tried[-1][0] > 1.05 * min(tried)[0] + 1e-6:
            break
    _, strength, solution, length = min(tried, key=lambda row: row[0])
    return strength, solution, curve[:length]


def _fit_sgd(
    training: Examples,
    validation: Examples,
    n_labels: int,
    options: TrainingOptions,
    watch: Watch,
) -> Fit:
    head, curve = descend(training, validation, n_labels, options, watch)
    details: dict[str, float | str] = {
        "solver": "sgd",
        "steps": options.steps,
        "learning_rate": options.learning_rate,
    }
    return Fit(head, details, curve)


SOLVERS = {"lbfgs": _fit_lbfgs, "sgd": _fit_sgd}
