"""CSV as poets writes it: UTF-8, one row a line, every line ended by LF."""

import csv
from collections.abc import Iterable, Sequence


class _Lines(list[str]):
    def write(self, row: str) -> None:
        self.append(row.removesuffix("\r\n") + "\n")


def csv_bytes(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """Return the content of a CSV file with a header; None is an empty cell."""
    lines = _Lines()
    # A writer quotes what ends its rows: with CR LF also a bare CR in a name, which readers
    # take for the end of a row.
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return "".join(lines).encode()
