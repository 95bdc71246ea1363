"""Which photographs of a run the page lists, the most telling first."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workers.reports.findings import Duplicate, Findings, Sighting, Suspect

SPLITS = ("test", "validation")
# The page stays quick and small: with 100,000 held-out images it lists these and says so.
MOST_LISTED = 8_000
MOST_MISTAKES = 1_000  # for each split
MOST_UNCERTAIN = 100  # for each split
MOST_PAIRS = 300  # suspects, duplicates
# This many of each kind come before the rest of any, since the first ones get thumbnails.
_FIRST = 40


@dataclass(frozen=True)
class Photograph:
    """One image; the scores are None for one of the training split.

    Attributes:
        score: Of the predicted label.
        label_score: Of the true label.
        margin: Score of the best label minus that of the second.
    """

    path: str
    split: str
    label: str
    predicted: str | None = None
    score: float | None = None
    label_score: float | None = None
    margin: float | None = None


@dataclass
class Listing:
    """The photographs of the page, the most important first, and lists of their indices.

    Attributes:
        mistakes, uncertain: Indices by split, worst first.
        suspects, duplicates: Findings, as the page's script reads them.
    """

    photographs: list[Photograph] = field(default_factory=list)
    mistakes: dict[str, list[int]] = field(default_factory=dict)
    uncertain: dict[str, list[int]] = field(default_factory=dict)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    _indices: dict[str, int] = field(default_factory=dict, init=False)

    def add(self, photograph: Photograph) -> int:
        """Return the index of a photograph, which is listed once."""
        index = self._indices.setdefault(photograph.path, len(self.photographs))
        if index == len(self.photographs):
            self.photographs.append(photograph)
        return index


def list_photographs(predictions: pa.Table, findings: Findings) -> Listing:
    """Choose photographs from the results of a model.

    Args:
        predictions: A column for each attribute of `Photograph`.
    """
    held_out = _HeldOut(predictions)
    suspects, duplicates = findings.suspects[:MOST_PAIRS], findings.duplicates[:MOST_PAIRS]
    listing = Listing()
    mistakes = {split: held_out.mistakes(split) for split in SPLITS}
    uncertain = {split: held_out.uncertain(split) for split in SPLITS}
    for chosen in (*mistakes.values(), *uncertain.values()):
        _add_all(listing, held_out, chosen[:_FIRST])
    for first, last in ((0, _FIRST), (_FIRST, MOST_PAIRS)):
        listing.suspects += [_suspect(listing, held_out, one) for one in suspects[first:last]]
        listing.duplicates += [_pair(listing, held_out, one) for one in duplicates[first:last]]
    for split in SPLITS:
        listing.mistakes[split] = _add_all(listing, held_out, mistakes[split])
        listing.uncertain[split] = _add_all(listing, held_out, uncertain[split])
    for index in held_out.from_each_cell():
        if len(listing.photographs) >= MOST_LISTED:
            break
        listing.add(held_out.photographs[index])
    return listing


class _HeldOut:
    """All held-out photographs, and orders of them as lists of their indices."""

    def __init__(self, predictions: pa.Table) -> None:
        rows = predictions.select([column.name for column in fields(Photograph)]).to_pylist()
        self.photographs = photographs = [Photograph(**row) for row in rows]
        self.by_path = {photograph.path: photograph for photograph in photographs}
        self._split = np.array([p.split for p in photographs], np.str_)
        self._score = np.array([p.score for p in photographs], np.float64)
        self._margin = np.array([p.margin for p in photographs], np.float64)
        self._is_wrong = np.array([p.label != p.predicted for p in photographs], np.bool_)

    def mistakes(self, split: str) -> list[int]:
        chosen = np.flatnonzero(self._is_wrong & (self._split == split))
        return _first(chosen, -self._score, MOST_MISTAKES)

    def uncertain(self, split: str) -> list[int]:
        chosen = np.flatnonzero(self._split == split)
        return _first(chosen, self._margin, MOST_UNCERTAIN)

    def from_each_cell(self) -> list[int]:
        """Return all indices: the first of each cell of the confusion, the second of each, ..."""
        # The worst of a cell are the most confident mistakes and the least confident hits.
        badness = np.where(self._is_wrong, self._score, 1 - self._score)
        cells: dict[tuple[str, str, str | None], int] = {}
        rank = np.zeros(len(self.photographs), np.int64)
        for index in np.argsort(-badness, kind="stable").tolist():
            photograph = self.photographs[index]
            cell = (photograph.split, photograph.label, photograph.predicted)
            rank[index] = cells[cell] = cells.get(cell, -1) + 1
        order: list[int] = np.lexsort((-badness, rank)).tolist()
        return order


def _first(indices: NDArray[np.int64], key: NDArray[np.float64], most: int) -> list[int]:
    chosen: list[int] = indices[np.argsort(key[indices], kind="stable")][:most].tolist()
    return chosen


def _add_all(listing: Listing, held_out: _HeldOut, indices: Iterable[int]) -> list[int]:
    return [listing.add(held_out.photographs[index]) for index in indices]


def _suspect(listing: Listing, held_out: _HeldOut, suspect: Suspect) -> dict[str, Any]:
    return {
        "photograph": _add(listing, held_out, suspect.image),
        "suggested": suspect.suggested,
        "score": suspect.score,
        "reason": suspect.reason,
    }


def _pair(listing: Listing, held_out: _HeldOut, pair: Duplicate) -> dict[str, Any]:
    return {
        "photograph": _add(listing, held_out, pair.image),
        "other": _add(listing, held_out, pair.other),
        "similarity": pair.similarity,
    }


def _add(listing: Listing, held_out: _HeldOut, image: Sighting) -> int:
    return listing.add(held_out.by_path.get(image.path) or Photograph(*astuple(image)))
