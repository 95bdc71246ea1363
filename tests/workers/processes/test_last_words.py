"""What a process that has died said last."""

import pytest

from workers.processes.last_words import find_last_words

TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
    import nothing
ModuleNotFoundError: No module named 'nothing'
"""
CHAINED = f"""{TRACEBACK}
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "x.py", line 3, in <module>
    raise ValueError("a\\nb")
ValueError: a
b
"""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo\n", "two"),
        (TRACEBACK, "ModuleNotFoundError: No module named 'nothing'"),
        (f"before\n{TRACEBACK}after\n", "ModuleNotFoundError: No module named 'nothing'"),
        (CHAINED, "ValueError: a"),
        ("error while loading shared libraries: libx.so: cannot open\n",
         "error while loading shared libraries: libx.so: cannot open"),
        ("before\nTraceback (most recent call last):\n  File", "File"),
    ],
)  # fmt: skip
def test_the_error_of_a_traceback_counts_else_the_last_line(said, words):
    assert find_last_words(said) == words
