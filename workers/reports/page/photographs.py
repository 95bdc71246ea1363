"""Which photographs of a run the page lists, the most telling first."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

SPLITS = ("test", "validation")
# The page stays quick and small: with 100,000 held-out images it lists these and says so.
MOST_LISTED = 8_000
MOST_MISTAKES = 1_000  # for each split
MOST_UNCERTAIN = 100  # for each split
MOST_PAIRS = 300  # suspects, duplicates
# So many of each kind come before the rest of any, since the first ones get thumbnails.
_FIRST = 40


@dataclass(frozen=True)
class Photograph:
    """One image; the scores are None for one of the training split.

    Attributes:
        score: Of the predicted label.
        label_score: Of its own label.
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
    """The photographs of the page in the order of their importance, and lists of them.

    Attributes:
        mistakes, uncertain: By split, numbers of photographs, worst first.
        suspects, duplicates: Rows of the files of that name, with numbers for paths.
    """

    photographs: list[Photograph] = field(default_factory=list)
    mistakes: dict[str, list[int]] = field(default_factory=dict)
    uncertain: dict[str, list[int]] = field(default_factory=dict)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, photograph: Photograph) -> int:
        """Return the number of a photograph, which is listed once."""
        number = self._numbers.setdefault(photograph.path, len(self.photographs))
        if number == len(self.photographs):
            self.photographs.append(photograph)
        return number


def list_photographs(files: Mapping[str, bytes]) -> Listing:
    """Choose photographs from the reports of a model.

    Args:
        files: Content by name; any of ``predictions.parquet``, ``mistakes.csv``,
            ``suspects.csv`` and ``duplicates.csv`` may be absent.
    """
    predictions = _Predictions(_read_predictions(files))
    suspects = read_rows(files, "suspects.csv")[:MOST_PAIRS]
    duplicates = read_rows(files, "duplicates.csv")[:MOST_PAIRS]
    listing = Listing()
    mistakes = {split: predictions.mistakes(split) for split in SPLITS}
    uncertain = {split: predictions.uncertain(split) for split in SPLITS}
    for chosen in (*mistakes.values(), *uncertain.values()):
        _add_all(listing, predictions, chosen[:_FIRST])
    for first, last in ((0, _FIRST), (_FIRST, MOST_PAIRS)):
        listing.suspects += [_suspect(listing, predictions, r) for r in suspects[first:last]]
        listing.duplicates += [_pair(listing, predictions, r) for r in duplicates[first:last]]
    for split in SPLITS:
        listing.mistakes[split] = _add_all(listing, predictions, mistakes[split])
        listing.uncertain[split] = _add_all(listing, predictions, uncertain[split])
    for number in predictions.from_each_cell():
        if len(listing.photographs) >= MOST_LISTED:
            break
        listing.add(predictions.photographs[number])
    return listing


def read_rows(files: Mapping[str, bytes], name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV report, none when there is no such report."""
    return list(csv.DictReader(io.StringIO(files.get(name, b"").decode(), newline="")))


class _Predictions:
    """All held-out photographs, and orders of them as arrays of their numbers."""

    def __init__(self, photographs: list[Photograph]) -> None:
        self.photographs = photographs
        self.by_path = {photograph.path: photograph for photograph in photographs}
        self._split = np.array([p.split for p in photographs], np.str_)
        self._score = np.array([p.score for p in photographs], np.float64)
        self._margin = np.array([p.margin for p in photographs], np.float64)  # None is nan
        self._is_wrong = np.array([p.label != p.predicted for p in photographs], np.bool_)

    def mistakes(self, split: str) -> list[int]:
        chosen = np.flatnonzero(self._is_wrong & (self._split == split))
        return _first(chosen, -self._score, MOST_MISTAKES)

    def uncertain(self, split: str) -> list[int]:
        chosen = np.flatnonzero((self._split == split) & ~np.isnan(self._margin))
        return _first(chosen, self._margin, MOST_UNCERTAIN)

    def from_each_cell(self) -> list[int]:
        """Return every number: the first of each cell of the confusion, the second of each, ..."""
        # The worst of a cell are the most confident mistakes and the least confident hits.
        badness = np.where(self._is_wrong, self._score, 1 - self._score)
        cells: dict[tuple[str, str, str | None], int] = {}
        rank = np.zeros(len(self.photographs), np.int64)
        for number in np.argsort(-badness, kind="stable").tolist():
            photograph = self.photographs[number]
            cell = (photograph.split, photograph.label, photograph.predicted)
            rank[number] = cells[cell] = cells.get(cell, -1) + 1
        order: list[int] = np.lexsort((-badness, rank)).tolist()
        return order


def _first(numbers: NDArray[np.int64], key: NDArray[np.float64], most: int) -> list[int]:
    chosen: list[int] = numbers[np.argsort(key[numbers], kind="stable")][:most].tolist()
    return chosen


def _add_all(listing: Listing, predictions: _Predictions, numbers: Iterable[int]) -> list[int]:
    return [listing.add(predictions.photographs[number]) for number in numbers]


def _suspect(listing: Listing, known: _Predictions, row: dict[str, str]) -> dict[str, Any]:
    return {
        "photograph": _number(listing, known, row["path"], row["split"], row["label"]),
        "suggested": row["suggested"],
        "score": number_or_none(row["score"]),
        "reason": row["reason"],
    }


def _pair(listing: Listing, known: _Predictions, row: dict[str, str]) -> dict[str, Any]:
    return {
        "photograph": _number(listing, known, row["path"], row["split"], row["label"]),
        "other": _number(listing, known, row["other"], row["other_split"], row["other_label"]),
        "similarity": number_or_none(row["similarity"]),
    }


def _number(listing: Listing, known: _Predictions, path: str, split: str, label: str) -> int:
    return listing.add(known.by_path.get(path) or Photograph(path, split, label))


def _read_predictions(files: Mapping[str, bytes]) -> list[Photograph]:
    if "predictions.parquet" in files:
        table = pq.read_table(io.BytesIO(files["predictions.parquet"]))
        names = Photograph.__dataclass_fields__
        columns = (table.column(name).to_pylist() for name in names)
        return [
            Photograph(path, "test" if split == "testing" else split, *rest)
            for path, split, *rest in zip(*columns, strict=True)
        ]
    return [
        Photograph(r["path"], r["split"], r["label"], r["predicted"], float(r["score"]))
        for r in read_rows(files, "mistakes.csv")
    ]


def number_or_none(text: str) -> float | None:
    """Return what a cell of a CSV report holds; empty cells are undefined figures."""
    return float(text) if text else None
