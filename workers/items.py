"""The pieces of a run's work, and the Celery task that does each."""

import re
from dataclasses import dataclass
from typing import Literal

from workers.errors import RunError

COMPUTE_BATCH, LABEL_BATCH = "poets.compute_batch", "poets.label_batch"
TRAIN_HEAD, CONVERT_BACKBONE = "poets.train_head", "poets.convert_backbone"
# No work: see `workers.probing`.
PROBE = "poets.probe"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work: convert the backbone, train the head, or do a batch.

    Attributes:
        key: What Redis and task ids call it: "convert", "train", or the batch's number.
        batch: Number of the batch; None for the other two.
    """

    key: str
    batch: int | None = None

    @classmethod
    def of_batch(cls, number: int) -> "Item":
        return cls(str(number), number)

    @classmethod
    def parse(cls, key: str) -> "Item":
        """Return the item that a key names.

        Raises:
            RunError: When it names none.
        """
        if key in (CONVERT.key, TRAIN.key):
            return cls(key)
        if _NUMBER.fullmatch(key):
            return cls.of_batch(int(key))
        raise RunError(f"{key!r} is no piece of a run: neither convert, train, nor a batch.")

    def task(self, kind: Literal["train", "label"]) -> str:
        """Return the name of the Celery task that does it in a run of this kind."""
        if self.batch is not None:
            return COMPUTE_BATCH if kind == "train" else LABEL_BATCH
        return TRAIN_HEAD if self == TRAIN else CONVERT_BACKBONE

    def arguments(self, run: str) -> tuple[str, *tuple[int, ...]]:
        """Return the arguments of that task."""
        return (run,) if self.batch is None else (run, self.batch)


CONVERT, TRAIN = Item("convert"), Item("train")
