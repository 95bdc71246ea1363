"""Corrections of labels, as the report or a spreadsheet writes them: one image a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.dataset.label_file import PATH, name_some, read_records, split_cell
from workers.errors import DatasetError
from workers.storage.label_sets import join_labels
from workers.storage.names import encode_name

LABEL = "label"


@dataclass(frozen=True)
class Correction:
    """The right label of an image, or with several labels an image their set as text.

    Attributes:
        path: As written in the file; see `encode_name`.
    """

    line: int
    path: str
    label: str


@dataclass(frozen=True)
class Corrections:
    """The corrections of a file, one for each image."""

    name: str
    rows: list[Correction]

    def malformed(self, line: int, what: str) -> DatasetError:
        """Return the error for a line that says what cannot be."""
        return DatasetError(f"Line {line} of {self.name} {what}.")


def read_corrections(path: Path, labels: Sequence[str], is_multi_label: bool) -> Corrections:
    """Return the rows of a CSV file with the columns ``path`` and ``label``; others mean nothing.

    Args:
        labels: Those that an image may have.
        is_multi_label: Take several labels, separated by ``;`` or ``|``, from a cell.

    Raises:
        DatasetError: When it cannot be read, has no such columns, or names an unknown label; with
            the line number.
    """
    lines = read_records(path)
    first, header = next(lines, (1, []))
    names = [name.strip() for name in header]
    found = Corrections(str(path), [])
    for name in (PATH, LABEL):
        if names.count(name) != 1:
            raise found.malformed(first, f"needs one column {name!r}; it has {name_some(names)}")
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) < len(names) or any(cells[len(names) :]):
            what = f"has {len(cells)} instead of {len(names)} cells; quote what holds a separator"
            raise found.malformed(line, what)
        row = dict(zip(names, cells, strict=False))
        name, cell = row[PATH].removeprefix("./"), row[LABEL].strip()
        given = split_cell(cell) if is_multi_label else [cell]
        # As poets writes a name, or as it is on the disk.
        chosen = [label if label in labels else encode_name(label) for label in given]
        unknown = [label for label in chosen if label not in labels]
        if not name:
            raise found.malformed(line, "has an empty path")
        if unknown:
            known = name_some(labels)
            raise found.malformed(line, f"has the label {unknown[0]!r}, and the run has {known}")
        label = join_labels(chosen) if is_multi_label else chosen[0]
        found.rows.append(Correction(line, name, label))
    return found
