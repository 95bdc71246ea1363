"""Whatever the locale, names of files are UTF-8."""

import os
import subprocess
import sys

import pytest

from tests.builders.paths import ROOT

PROGRAM = """
import sys
from cli.streams import use_utf8, robust_streams
use_utf8()
with robust_streams():
    print(sys.getfilesystemencoding(), sys.argv[1], "雛")
    print("雛", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({"LC_ALL": "C"}, "utf-8 dä 雛\n"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "utf-8 dä 雛\n"),
        ({"LC_ALL": "tr_TR.ISO-8859-9"}, "utf-8 dä 雛\n"),
        ({"PYTHONIOENCODING": "latin-1:strict"}, "utf-8 d\xe4 \\u96db\n"),
    ],
)
def test_names_are_utf8_in_any_locale(tmp_path, environment, printed):
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    command = [sys.executable, str(tmp_path / "program.py"), "dä"]

    found = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
    )

    encoding = "latin-1" if "PYTHONIOENCODING" in environment else "utf-8"
    assert found.returncode == 0, found.stderr
    assert found.stdout.decode(encoding) == printed
