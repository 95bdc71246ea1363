"""Fitting a head beside scikit-learn's LogisticRegression at equal loss; not run by pytest.

    python -m tests.benchmarks.solver [IMAGES] [WIDTH] [LABELS] [L2] [ROUNDS]

All fit the same objective by turns in one run: same standardisation, same L2, two threads.
To stop early is no advantage: what counts is when poets comes as near as 0.1 % to the objective
that the other ends with, and the other to that of poets. Poets reads the bottlenecks as they are;
scikit-learn gets them standardised, and that does not count. Before that, the whole of the solver
of poets, which also chooses L2.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from workers.heads.fit import fit_at_strength, fit_head, limit_scipy
from workers.heads.head import Examples, Head
from workers.storage.plan import TrainingOptions

_THREADS = 2
_BLOCK = 5_000
# How near to the other's objective counts as equal.
_NEAR = 1e-3
# As many iterations as ours may take; scikit-learn's own default of 100 ends too early.
_MAX_ITERATIONS = 300
_OPTIONS = TrainingOptions()


@dataclass
class Course:
    """One fit: what it had after how many seconds, and how long it took."""

    started: float = field(default_factory=time.perf_counter)
    seconds: list[float] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    whole: float = 0.0

    def note(self, head: Head, _: object = None) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        self.heads.append(head)


def make_bottlenecks(images: int, width: int, labels: int, seed: int = 0) -> Examples:
    """Return clusters that look like bottlenecks of MobileNet on photographs.

    Like those of the flowers: averages of what a ReLU lets through, the i-th principal
    component with a variance of about 1 / i and less at the end (largest to 500th about
    2,000 : 1), numbers that vary up to ten times as much as others, a tenth of the variance
    between labels and that in few components. Each label has four clusters.
    """
    fixed, generator = np.random.default_rng(0), np.random.default_rng([seed, 1])
    rotation, _ = np.linalg.qr(fixed.normal(size=(width, width)))
    place = np.arange(width)
    spectrum = np.sqrt(width / 8 / (2 + place)) * np.exp(-2 * place / width)
    basis = spectrum[:, np.newaxis] * rotation * np.exp(fixed.normal(0, 0.4, width))
    centres = fixed.normal(0, 0.45, (labels, 1, width)) + fixed.normal(0, 0.3, (labels, 4, width))
    clusters = (centres * np.exp(-4 * place / width)).astype(np.float32)
    numbers = generator.integers(0, labels, images)
    bottlenecks = np.empty((images, width), np.float32)
    for start in range(0, images, _BLOCK):
        chosen = numbers[start : start + _BLOCK]
        latent = clusters[chosen, generator.integers(0, 4, len(chosen))]
        latent += generator.standard_normal(latent.shape, np.float32)
        latent = latent @ basis.astype(np.float32)
        # Four places of a picture, of which a pool takes the average.
        places = (generator.standard_normal(latent.shape, np.float32) / 8 for _ in range(4))
        bottlenecks[start : start + _BLOCK] = sum(np.maximum(latent + e, 0) for e in places) / 4
    return Examples(bottlenecks, numbers, [""] * images)


@dataclass(frozen=True)
class Task:
    """What all are asked to fit, with the standardised bottlenecks for scikit-learn."""

    training: Examples
    labels: int
    l2: float
    mean: NDArray[np.float32]
    scale: float
    standard: NDArray[np.float32]

    def objective(self, head: Head) -> float:
        """Return the mean cross entropy plus L2, in float64."""
        total = 0.0
        for start in range(0, len(self.training), _BLOCK):
            rows = slice(start, start + _BLOCK)
            logits = self.training.bottlenecks[rows].astype(np.float64) @ head.weights + head.bias
            own = logits[np.arange(len(logits)), self.training.labels[rows]]
            top = logits.max(axis=1)
            total += float((top + np.log(np.exp(logits.T - top).sum(axis=0)) - own).sum())
        square = float((head.weights.astype(np.float64) ** 2).sum()) / self.scale**2
        return total / len(self.training) + self.l2 / 2 * square


def prepare(training: Examples, labels: int, l2: float) -> Task:
    """Standardise as ours does: a centre for each number, one scale for all."""
    mean = training.bottlenecks.mean(axis=0, dtype=np.float64).astype(np.float32)
    standard = training.bottlenecks - mean
    scale = 1 / float(standard.std(dtype=np.float64))
    standard *= np.float32(scale)
    return Task(training, labels, l2, mean, scale, standard)


def fit_ours(task: Task) -> Course:
    """Fit as `fit_at_strength` does."""
    course = Course()
    fit_at_strength(task.training, task.labels, task.l2, _OPTIONS, lambda: None, course.note)
    course.whole = time.perf_counter() - course.started
    return course


def fit_theirs(task: Task, kind: type, tolerance: float = 1e-4) -> Course:
    """Fit with scikit-learn in float32 or float64; its own tolerance is 1e-4."""
    standard = task.standard.astype(kind, copy=False)
    strength = 1 / (task.l2 * len(standard))
    model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS, tol=tolerance)
    with watched(task) as course, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        model.fit(standard, task.training.labels)
    return course


def fit_helped(task: Task, tolerance: float = 1e-4) -> Course:
    """Fit with scikit-learn after what ours does against the threads of two BLAS libraries."""
    with limit_scipy():
        return fit_theirs(task, np.float32, tolerance)


@contextmanager
def watched(task: Task) -> Iterator[Course]:
    """Note the heads of a fit of scikit-learn's, which calls SciPy's `minimize` as ours does."""
    minimize = scipy.optimize.minimize
    course, places = Course(), []

    def keep(place: NDArray[Any]) -> None:
        course.seconds.append(time.perf_counter() - course.started)
        places.append(place.astype(np.float32))

    def minimize_watched(*args: Any, **kwargs: Any) -> Any:
        return minimize(*args, **{**kwargs, "callback": keep})

    scipy.optimize.minimize = minimize_watched
    try:
        yield course
    finally:
        scipy.optimize.minimize = minimize
    course.whole = time.perf_counter() - course.started
    for place in places:
        table = place.reshape(-1, task.labels).astype(np.float64)  # it keeps labels together
        weights = table[:-1] * task.scale
        bias = table[-1] - task.mean @ weights
        course.heads.append(Head(weights.astype(np.float32), bias.astype(np.float32)))


def seconds_to(objective: float, task: Task, course: Course) -> float | None:
    """Return when a fit first was as low as an objective; it never goes up again."""
    low, high = 0, len(course.heads)
    while low < high:
        middle = (low + high) // 2
        if task.objective(course.heads[middle]) <= objective:
            high = middle
        else:
            low = middle + 1
    return course.seconds[low] if low < len(course.heads) else None


OURS = "ours"
WAYS: dict[str, Callable[[Task], Course]] = {
    OURS: fit_ours,
    "scikit-learn, float64": lambda task: fit_theirs(task, np.float64),
    "float32": lambda task: fit_theirs(task, np.float32),
    "float32, SciPy's BLAS on one thread": fit_helped,
    "the same, tol=1e-6": lambda task: fit_helped(task, 1e-6),
}


def compare(task: Task, rounds: int) -> None:
    """Print a row for each way: medians over the rounds."""
    courses: dict[str, list[Course]] = {name: [] for name in WAYS}
    for number in range(rounds):
        # Each is first in turn, so that what comes before hurts none more than another.
        names = list(WAYS)[number % len(WAYS) :] + list(WAYS)[: number % len(WAYS)]
        for name in names:
            courses[name].append(WAYS[name](task))
    ends = {name: task.objective(found[-1].heads[-1]) for name, found in courses.items()}
    print(f"\n{len(task.training):,} x {len(task.mean)}, {task.labels} labels, L2 {task.l2:g}\n")
    print("| | seconds | iterations | objective | as low as ours after | ours as low after |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, found in courses.items():
        whole = median(course.whole for course in found)
        steps = median(len(course.heads) for course in found)
        there = describe(task, found, ends[OURS])
        back = describe(task, courses[OURS], ends[name])
        row = (name, f"{whole:.2f}", f"{steps:.0f}", f"{ends[name]:.6f}", there, back)
        print(f"| {' | '.join(row)} |", flush=True)


def describe(task: Task, courses: list[Course], end: float) -> str:
    """Return the median of the seconds after which an objective was nearly reached."""
    reached = [seconds_to(end * (1 + _NEAR), task, course) for course in courses]
    times = [seconds for seconds in reached if seconds is not None]
    return f"{median(times):.2f}" if len(times) == len(courses) else "never"


def time_choice(training: Examples, validation: Examples, labels: int, rounds: int) -> float:
    """Print how long the whole fit takes, and return the L2 that it chooses."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        found = fit_head(training, validation, labels, _OPTIONS, lambda: None)
        seconds.append(time.perf_counter() - started)
    loss = found.curve[-1].validation_cross_entropy
    print(f"\nours with the choice of L2: {median(seconds):.2f} s, L2 {found.details['l2']:.3g},")
    print(f"{len(found.curve)} steps, validation cross entropy {loss:.4f}", flush=True)
    return float(found.details["l2"])


def main(
    images: int = 100_000, width: int = 1_024, labels: int = 100, l2: float = 0, rounds: int = 1
) -> None:
    """Compare on clusters that are made up; without L2 take the one that ours chooses."""
    training = make_bottlenecks(images, width, labels)
    validation = make_bottlenecks(max(500, images // 8), width, labels, seed=1)
    with threadpool_limits(_THREADS):
        chosen = time_choice(training, validation, labels, rounds)
        compare(prepare(training, labels, l2 or chosen), rounds)


if __name__ == "__main__":
    kinds = (int, int, int, float, int)
    main(*(kind(word) for kind, word in zip(kinds, sys.argv[1:], strict=False)))
