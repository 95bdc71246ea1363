"""How often a promised precision is kept, over 20 seeds, as a Markdown table; not run by pytest.

    python -m tests.benchmarks.promise FLOWERS_DIR

Uses the settings of poets (POETS_STORAGE, POETS_WEIGHTS_DIR) for the backbone. Every photograph
is computed once; a seed changes the split and the folds.
"""

import functools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestrator.dataset.split import Shares, split_images
from tests.benchmarks.accuracy import PLAIN, DataSet, open_data_set
from workers.bottlenecks.gathering import SPLITS, Gathered
from workers.bottlenecks.pooling import pool_photographs
from workers.heads.fit import fit_alike, fit_head
from workers.heads.guesses import DIGITS, best_labels, guess_labels
from workers.heads.head import Examples
from workers.heads.out_of_fold import guess_out_of_fold
from workers.heads.promise import Promise, find_promise
from workers.heads.temperature import calibrate_head
from workers.processes.heartbeat import no_heartbeat

SEEDS = range(20)
TARGETS = (0.95, 0.98)
# Large, since a precision of a few dozen photographs says little.
TESTING, VALIDATION = 30, 10


def gather(data: DataSet, seed: int) -> Gathered:
    """Return the photographs as the trainer gathers them."""
    named = [(image.label or "", image.path.split("/", 1)[1]) for image in data.images]
    splits = np.array(split_images(named, Shares(TESTING, VALIDATION, seed)).splits)
    numbers = np.array([data.labels.index(image.label or "") for image in data.images])
    bottlenecks = data.bottlenecks(PLAIN)[:, 0]
    rows = {split: np.flatnonzero(splits == split) for split in SPLITS}
    return Gathered(
        {
            split: Examples(
                bottlenecks[found], numbers[found], [data.images[row].path for row in found]
            )
            for split, found in rows.items()
        },
        digests={split: [None] * len(found) for split, found in rows.items()},
        is_variant=np.zeros(len(rows["training"]), np.bool_),
    )


def promise_all(data: DataSet, seed: int) -> list[tuple[Promise, int, int]]:
    """Return for each target the promise, and how many test photographs are sure, and right."""
    gathered, options, count = gather(data, seed), replace(PLAIN, seed=seed), len(data.labels)
    training, validation, testing = (gathered.examples[split] for split in SPLITS)
    fit = fit_head(training, validation, count, options, no_heartbeat)
    head, temperature = calibrate_head(fit.head, validation, no_heartbeat)
    fit = replace(fit, head=head, details={**fit.details, "temperature": temperature})
    fit_on = functools.partial(
        fit_alike, fit, n_labels=count, options=options, heartbeat=no_heartbeat
    )
    pool = pool_photographs(gathered, seed, no_heartbeat)
    unseen = guess_out_of_fold(pool, count, seed, fit_on, no_heartbeat)
    _, scores, is_right = best_labels(guess_labels(head, testing, no_heartbeat))
    found = []
    for target in TARGETS:
        promise = find_promise(unseen.scores, unseen.is_right, target)
        least = np.inf if promise.threshold is None else promise.threshold
        sure = is_right[scores.round(DIGITS) >= least]
        found.append((promise, len(sure), int(sure.sum())))
    return found


def main(folder: Path) -> None:
    """Print the table."""
    data = open_data_set(folder)
    by_seed = [promise_all(data, seed) for seed in SEEDS]
    print("| target | seeds with an answer | kept in | precision | sure | photographs judged |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, target in enumerate(TARGETS):
        column = [row[number] for row in by_seed]
        answers = [(sure, right) for _, sure, right in column if sure]
        kept = sum(right >= target * sure for sure, right in answers)
        sure, right = (sum(part) for part in zip(*answers, strict=True))
        coverage = np.mean([promise.coverage for promise, sure, _ in column if sure])
        judged = np.mean([promise.judged for promise, *_ in column])
        print(
            f"| {target} | {len(answers)} | {kept} | {right / sure:.1%} | {coverage:.0%} "
            f"| {judged:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
