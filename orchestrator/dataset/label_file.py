"""The labels of a multi-label data set: a CSV file with a row for each image."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.dataset.scan import FoundImage, Scan
from workers.errors import DatasetError
from workers.storage.label_sets import join_labels
from workers.storage.names import encode_name

PATH, LABELS = "path", "labels"
NOT_NAMED = "images that the label file does not name"
# As pandas and spreadsheets write yes and no.
_ANSWERS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_NAMED_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row: `line` is where it begins, counted from 1; labels as `encode_name` writes them."""

    line: int
    path: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelFile:
    """A label file as it is written, before any image is looked for.

    Attributes:
        columns: Labels that have a column of their own, whether any image has them or not.
    """

    name: str
    rows: list[LabelRow]
    columns: tuple[str, ...]


def read_label_file(path: Path) -> LabelFile:
    r"""Return the rows of a label file.

    UTF-8 with a header. One column is ``path``; beside it stands either ``labels``, several
    separated by ``;`` or ``|``, or one column for each label, with 1 in the rows of the images
    that have it and 0 in the others.

    Raises:
        DatasetError: When it cannot be read or is not of this form, with the line number.
    """
    lines = _Lines(path)
    header = next(lines, None)
    if header is None:
        raise DatasetError(
            f"The label file {path} is empty. It needs a header such as: path,labels"
        )
    first, names = header[0], [name.strip() for name in header[1]]
    columns, parse = _read_header(lines, first, names)
    place = names.index(PATH)
    rows = []
    for line, cells in lines:
        if len(cells) != len(names):
            raise lines.error(
                line, f"{len(cells)} cells instead of {len(names)}; quote what holds a comma"
            )
        name = cells.pop(place).removeprefix("./")
        if not name:
            raise lines.error(line, "an empty path")
        rows.append(LabelRow(line, name, tuple(map(encode_name, parse(line, cells)))))
    return LabelFile(str(path), rows, tuple(map(encode_name, columns)))


def apply_label_file(scan: Scan, file: LabelFile) -> None:
    """Give the images of a scan the labels of a file, and take away those it does not name.

    What a person should know of goes to ``scan.warnings``, the images to ``scan.ignored``.

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
                f"Line {row.line} of {file.name} names {row.path!r}, as line {rows[path].line} "
                "does. Put all labels of an image into one row."
            )
        else:
            rows[path] = row
    if found and not rows:
        example = f" such as {missing[0]!r}" if missing else ""
        raise DatasetError(
            f"No row of {file.name} names an image in {scan.root}. Its paths{example} must be "
            f"relative to that folder, such as {next(iter(found))!r}."
        )
    images = [_label(image, rows[image.path]) for image in found.values() if image.path in rows]
    if len(images) < len(found):
        scan.ignored[NOT_NAMED] += len(found) - len(images)
    scan.images = images
    _warn(scan, file, missing, Counter(label for row in rows.values() for label in row.labels))


def _label(image: FoundImage, row: LabelRow) -> FoundImage:
    return replace(image, label=join_labels(row.labels))


def _warn(scan: Scan, file: LabelFile, missing: list[str], counts: Counter[str]) -> None:
    if missing:
        scan.warnings.append(
            f"{len(missing):,} of {len(file.rows):,} rows of {file.name} name no image in "
            f"{scan.root}: {list_some(missing)}."
        )
    unused = [label for label in file.columns if not counts[label]]
    if unused:
        scan.warnings.append(f"Left out, since no image has them: {list_some(unused)}.")


def list_some(names: list[str]) -> str:
    """Return the first names, quoted, and how many more there are."""
    more = len(names) - _NAMED_AT_ONCE
    listed = ", ".join(map(repr, names[:_NAMED_AT_ONCE]))
    return f"{listed} and {more:,} more" if more > 0 else listed


class _Lines(Iterator[tuple[int, list[str]]]):
    """The records of a CSV file that are not blank, each with the line where it begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DatasetError(
                f"The label file {path} cannot be read: {error.strerror}. Check the path."
            ) from error
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self.error(line, "a byte that is no UTF-8; save the file as UTF-8") from error
        self._reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def __next__(self) -> tuple[int, list[str]]:
        while True:
            line = self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except csv.Error as error:
                raise self.error(line, str(error)) from error
            if cells:
                return line, cells

    def error(self, line: int, what: str) -> DatasetError:
        return DatasetError(f"Line {line} of the label file {self._path} has {what}.")


# The line and the cells beside the path -> labels.
_Parse = Callable[[int, list[str]], Iterator[str]]


def _read_header(lines: _Lines, line: int, names: list[str]) -> tuple[list[str], _Parse]:
    """Return the labels that are columns, and how the cells of a row become labels."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise lines.error(line, f"two columns named {twice[0]!r}; one must go")
    if "" in names:
        raise lines.error(line, "a column without a name")
    if PATH not in names:
        raise lines.error(line, f"no column {PATH!r}, only {list_some(names)}")
    names = [name for name in names if name != PATH]
    if not names:
        raise lines.error(line, f"no labels beside {PATH!r}; add a column {LABELS!r}")
    if LABELS not in names:
        return names, _each_column(lines, names)
    if len(names) > 1:
        names.remove(LABELS)
        raise lines.error(line, f"both {LABELS!r} and {list_some(names)}; one or the other must go")
    return [], lambda _, cells: _split(cells[0])


def _split(cell: str) -> Iterator[str]:
    return (label for part in re.split(r"[;|]", cell) if (label := part.strip()))


def _each_column(lines: _Lines, names: list[str]) -> _Parse:
    def parse(line: int, cells: list[str]) -> Iterator[str]:
        for name, cell in zip(names, cells, strict=True):
            answer = _ANSWERS.get(cell.strip().lower())
            if answer is None:
                raise lines.error(line, f"{cell!r} in the column {name!r}; write 1 or 0")
            if answer:
                yield name

    return parse
