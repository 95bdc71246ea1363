"""What the codelab's retrain.py leaves besides a model: summaries, and a final test."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from workers.storage.atomic import storage_errors
from workers.storage.layout import RunFolder
from workers.storage.plan import Plan


@dataclass(frozen=True)
class FinalTest:
    """The last line of retrain.py.

    Attributes:
        images: Test images that were looked at.
        accuracy: 0 to 1; None when there were none.
        misclassified: Path below the data set, and predicted label.
    """

    images: int
    accuracy: float | None
    misclassified: list[tuple[str, str]]


def link_summaries(run: RunFolder, folder: Path) -> Path:
    """Make the summaries of a run appear in `folder`, before there are any, and return where.

    What is in `folder` stays: retrain.py deleted it. A link, so that a fit can be watched,
    and a relative one, so that storage and summaries may move together.

    Raises:
        StorageError: When the storage refuses.
    """
    with storage_errors(f"write {folder}"):
        run.summaries.mkdir(exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(run.summaries.resolve(), folder.resolve())
        for number in itertools.count(1):
            # A run of another storage may have this name.
            link = folder / (run.name if number == 1 else f"{run.name}-{number}")
            if link.is_symlink() and not link.exists():
                link.unlink()  # leads nowhere: its storage is gone
            if not link.is_symlink() and not link.exists():
                link.symlink_to(target)
                return link
    raise AssertionError  # for mypy: count() has no end


def examine_test(run: RunFolder, plan: Plan, batch_size: int) -> FinalTest:
    """Return the figures of the test split, or of a seeded sample of it.

    Args:
        batch_size: Images of the sample; -1 for all.
    """
    import numpy as np
    import pyarrow.parquet as pq

    columns = ["path", "label", "predicted"]
    table = pq.read_table(
        run.model / "predictions.parquet", columns=columns, filters=[("split", "=", "test")]
    )
    if 0 <= batch_size < len(table):
        seed = plan.training.seed if plan.training else 0
        # With a salt, like the other draws of a run.
        generator = np.random.default_rng([seed, 2])
        table = table.take(np.sort(generator.choice(len(table), batch_size, replace=False)))
    rows = table.to_pylist()
    wrong = [(row["path"], row["predicted"]) for row in rows if row["predicted"] != row["label"]]
    accuracy = 1 - len(wrong) / len(rows) if rows else None
    return FinalTest(len(rows), accuracy, wrong)
