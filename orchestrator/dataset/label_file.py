"""The labels of a multi-label data set: a CSV file with a row for each image."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.dataset.scan import Scan
from workers.errors import DatasetError
from workers.storage.label_sets import join_labels
from workers.storage.names import encode_name
from workers.storage.regular_files import CONTENT_BYTES, read_regular_file

PATH, LABELS = "path", "labels"
NOT_NAMED = "images that the label file does not name"
# As pandas and spreadsheets write yes and no.
_ANSWERS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row: the line it begins on, counted from 1; labels as `encode_name` writes them."""

    line: int
    path: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelFile:
    """The content of a label file, before any image is looked up.

    Attributes:
        columns: Labels that have a column, whether any image has them or not.
    """

    name: str
    rows: list[LabelRow]
    columns: tuple[str, ...]


def read_label_file(path: Path) -> LabelFile:
    r"""Return the rows of a label file.

    It is UTF-8 with a header. One column is ``path``. The rest is either a column ``labels``,
    which separates several by ``;`` or ``|``, or one column for each label, with 1 in the rows
    of the images that have it and 0 in the others.

    Raises:
        DatasetError: When it cannot be read or does not have this form, with the line number.
    """
    lines = read_records(path)
    first, header = next(lines, (0, []))
    if not header:
        raise DatasetError(
            f"The label file {path} is empty. It needs a header such as: path,labels"
        )
    names = [name.strip() for name in header]
    columns = _find_label_columns(path, first, names)
    rows = []
    for line, cells in lines:
        if len(cells) != len(names):
            found = f"{len(cells)} instead of {len(names)} cells; quote what holds a comma"
            raise _malformed(path, line, found)
        row = dict(zip(names, cells, strict=True))
        name = row[PATH].removeprefix("./")
        if not name:
            raise _malformed(path, line, "an empty path")
        labels = _read_answers(path, line, row, columns) if columns else split_cell(row[LABELS])
        rows.append(LabelRow(line, name, tuple(map(encode_name, labels))))
    return LabelFile(str(path), rows, tuple(map(encode_name, columns)))


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file that are not blank, each with the line it begins on.

    A spreadsheet may have written it: with a byte order mark, and with ``;`` or a tab between
    cells.

    Raises:
        DatasetError: When it cannot be read, or is no CSV.
    """
    try:
        content = read_regular_file(path, CONTENT_BYTES, may_be_link=True)
    except OSError as error:
        raise DatasetError(
            f"The label file {path} cannot be read: {error.strerror}. Check the path."
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = "a byte that is not UTF-8; save the file as UTF-8"
        raise _malformed(path, line, what) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_separator(text))
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _malformed(path, line, str(error)) from error


def _separator(text: str) -> str:
    """Return what stands between the cells, by the header."""
    header = text.lstrip().split("\n", 1)[0]
    return next((mark for mark in ",;\t" if mark in header), ",")


def _malformed(path: Path, line: int, what: str) -> DatasetError:
    return DatasetError(f"Line {line} of the label file {path} has {what}.")


def _find_label_columns(path: Path, line: int, names: list[str]) -> list[str]:
    """Return the labels that are columns; none where one column lists the labels."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    others = [name for name in names if name not in (PATH, LABELS)]
    if twice:
        raise _malformed(path, line, f"two columns named {twice[0]!r}; remove one")
    if "" in names:
        raise _malformed(path, line, "a column without a name")
    if PATH not in names:
        raise _malformed(path, line, f"no column {PATH!r}, only {name_some(names)}")
    if names == [PATH]:
        raise _malformed(path, line, f"no column but {PATH!r}; add a column {LABELS!r}")
    if LABELS in names and others:
        both = f"both {LABELS!r} and {name_some(others)}; remove one or the other"
        raise _malformed(path, line, both)
    return others


def split_cell(cell: str) -> list[str]:
    """Return the labels of a cell, which ``;`` or ``|`` separate."""
    return [label for part in re.split(r"[;|]", cell) if (label := part.strip())]


def _read_answers(path: Path, line: int, row: dict[str, str], columns: list[str]) -> list[str]:
    """Return the labels whose columns say yes."""
    answers = {label: _ANSWERS.get(row[label].strip().lower()) for label in columns}
    for label, answer in answers.items():
        if answer is None:
            what = f"{row[label]!r} in the column {label!r}; write 1 or 0"
            raise _malformed(path, line, what)
    return [label for label, answer in answers.items() if answer]


def apply_label_file(scan: Scan, file: LabelFile) -> list[str]:
    """Give the images of a scan the labels of a file, and remove those it does not name.

    The latter are counted in ``scan.ignored``.

    Returns:
        Warnings about rows and columns without an image.

    Raises:
        DatasetError: When two rows name one image, or no row names any.
    """
    found = {image.path: image for image in scan.images}
    rows: dict[str, LabelRow] = {}
    missing = []
    for row in file.rows:
        # As poets writes a name, or as it is on the disk.
        path = row.path if row.path in found else encode_name(row.path)
        if path not in found:
            missing.append(row.path)
        elif path in rows:
            raise DatasetError(
                f"Line {row.line} of {file.name} names {row.path!r}, which line "
                f"{rows[path].line} names too. Put all labels of an image into one row."
            )
        else:
            rows[path] = row
    if found and not rows:
        example = f" such as {missing[0]!r}" if missing else ""
        raise DatasetError(
            f"No row of {file.name} names an image in {scan.root}. Its paths{example} must be "
            f"relative to that folder, such as {next(iter(found))!r}."
        )
    images = [
        replace(image, label=join_labels(rows[image.path].labels))
        for image in found.values()
        if image.path in rows
    ]
    if len(images) < len(found):
        scan.ignored[NOT_NAMED] += len(found) - len(images)
    scan.images = images
    used = {label for row in rows.values() for label in row.labels}
    return list(_find_unused(scan, file, missing, used))


def _find_unused(scan: Scan, file: LabelFile, missing: list[str], used: set[str]) -> Iterator[str]:
    if missing:
        yield (
            f"{len(missing):,} of {len(file.rows):,} rows of {file.name} name no image in "
            f"{scan.root}: {name_some(missing)}."
        )
    unused = [label for label in file.columns if label not in used]
    if unused:
        yield f"Left out, since no image has them: {name_some(unused)}."


def name_some(names: Iterable[str]) -> str:
    """Return the first names, quoted, and how many more there are."""
    return list_some([repr(name) for name in names])


def list_some(parts: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """Return the first parts, and how many more there are."""
    more = len(parts) - most
    return separator.join(parts[:most]) + (f" and {more:,} more" if more > 0 else "")
