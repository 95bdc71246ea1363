"""Training and validation photographs as one pool, which shows what a head can promise."""

import numpy as np

from workers.bottlenecks.gathering import Gathered
from workers.heads.groups import group_photographs
from workers.heads.head import Examples
from workers.heads.out_of_fold import Pool
from workers.processes.heartbeat import Heartbeat
from workers.storage.names import shared_name

# Enough for any promise that can be kept; copies are searched among all pairs of them.
_MOST_PHOTOGRAPHS = 10_000
# With variants: 100 MB of 512 numbers.
_MOST_ROWS = 50_000


def pool_photographs(gathered: Gathered, seed: int, heartbeat: Heartbeat) -> Pool:
    """Return the pool, of a large set a random part; photographs stay with their variants."""
    training, validation = gathered.examples["training"], gathered.examples["validation"]
    photograph = np.cumsum(~gathered.is_variant) - 1
    in_training = int(np.count_nonzero(~gathered.is_variant))
    total = in_training + len(validation)
    most = min(_MOST_PHOTOGRAPHS, _MOST_ROWS * in_training // max(len(training), 1))
    is_taken = np.ones(total, np.bool_)
    if total > most:
        is_taken[np.random.default_rng(seed).permutation(total)[most:]] = False
    rows = {
        "training": np.flatnonzero(is_taken[:in_training][photograph]),
        "validation": np.flatnonzero(is_taken[in_training:]),
    }
    parts = [(gathered.examples[split], taken) for split, taken in rows.items()]
    examples = Examples(
        np.concatenate([part.bottlenecks[taken] for part, taken in parts]),
        np.concatenate([part.labels[taken] for part, taken in parts]),
        [part.paths[row] for part, taken in parts for row in taken],
    )
    is_variant = np.zeros(len(examples), np.bool_)
    is_variant[: len(rows["training"])] = gathered.is_variant[rows["training"]]
    digests = [gathered.digests[split][row] for split, taken in rows.items() for row in taken]
    photographs = np.flatnonzero(~is_variant)
    groups = group_photographs(
        examples.bottlenecks[photographs],
        [
            [digests[row] for row in photographs],
            [shared_name(examples.paths[row]) for row in photographs],
        ],
        heartbeat,
    )
    return Pool(examples, is_variant, groups)
