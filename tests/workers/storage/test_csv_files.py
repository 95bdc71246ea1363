"""CSV that every reader takes apart as it was put together."""

import csv
import io

import pyarrow.csv

from workers.storage.csv_files import csv_bytes

ODD = ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", " a ", "ü\u2028"]


def test_names_with_line_breaks_and_quotes_stay_one_cell():
    content = csv_bytes(("name", "place"), [(name, i) for i, name in enumerate(ODD)])

    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows == [["name", "place"], *([name, str(i)] for i, name in enumerate(ODD))]
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = pyarrow.csv.read_csv(io.BytesIO(content), parse_options=options)
    assert table.column("name").to_pylist() == ODD


def test_a_row_ends_with_a_bare_line_feed_and_none_is_empty():
    assert csv_bytes(("a", "b"), [(0.1, None), (1, "x")]) == b"a,b\n0.1,\n1,x\n"
