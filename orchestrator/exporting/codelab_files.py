"""What the codelab's retrain.py gives besides a model: summaries, and a final test."""

import os
from dataclasses import dataclass
from pathlib import Path

from workers.storage.atomic import storage_errors
from workers.storage.layout import RunFolder
from workers.storage.plan import Run


@dataclass(frozen=True)
class FinalTest:
    """The last line of retrain.py.

    Attributes:
        images: Test images that were measured.
        accuracy: 0 to 1; None when there were none.
        misclassified: Path below the data set, and predicted label.
    """

    images: int
    accuracy: float | None
    misclassified: list[tuple[str, str]]


def link_summaries(run: RunFolder, folder: Path) -> Path:
    """Link the summaries of a run, before there are any, into `folder`; return the link.

    What is in `folder` stays, though retrain.py deleted it. A link, so that a fit can be
    watched, and a relative one, so that storage and summaries may move together.

    Raises:
        StorageError: When the storage refuses.
    """
    with storage_errors(f"write {folder}"):
        run.summaries.mkdir(exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(run.summaries.resolve(), folder.resolve())
        # A run of another storage may have this name.
        number, link = 1, folder / run.name
        while link.exists():
            number += 1
            link = folder / f"{run.name}-{number}"
        link.unlink(missing_ok=True)  # a link that leads nowhere: its storage is gone
        link.symlink_to(target)
    return link


def examine_test(run: Run, batch_size: int) -> FinalTest:
    """Return the figures of the test split, or of a seeded sample of it.

    Args:
        batch_size: Images in the sample; -1 for all.
    """
    import numpy as np
    import pyarrow.parquet as pq

    columns = ["path", "label", "predicted"]
    table = pq.read_table(
        run.folder.model / "predictions.parquet", columns=columns, filters=[("split", "=", "test")]
    )
    if 0 <= batch_size < len(table):
        seed = run.plan.training.seed if run.plan.training else 0
        # With a salt, so that it differs from the other draws of a run.
        generator = np.random.default_rng([seed, 2])
        table = table.take(np.sort(generator.choice(len(table), batch_size, replace=False)))
    rows = table.to_pylist()
    wrong = [(row["path"], row["predicted"]) for row in rows if row["predicted"] != row["label"]]
    accuracy = 1 - len(wrong) / len(rows) if rows else None
    return FinalTest(len(rows), accuracy, wrong)
