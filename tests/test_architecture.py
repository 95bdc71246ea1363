"""The folders are those of docs/architecture.md, and functions fit on a screen."""

import ast
import re
import statistics

import pytest

from tests.builders.paths import ROOT
from tests.builders.sizes import PACKAGES, package_functions

SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def listing() -> dict[str, list[str]]:
    """Return the modules of each folder: the block after the heading "The listing"."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    block = re.search(r"^## The listing\n.*?^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block, "docs/architecture.md has no listing"
    rows = [line.split() for line in block[1].splitlines() if line.strip()]
    return {folder.rstrip("/"): sorted(modules) for folder, *modules in rows}


def test_the_listing_is_that_of_the_folders():
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.name != "__init__.py":
            folder = str(path.parent.relative_to(ROOT))
            found.setdefault(folder, []).append(path.stem)

    assert listing() == {folder: sorted(modules) for folder, modules in found.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_lives_there(package):
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))), folder


def test_functions_fit_on_a_screen():
    lengths = package_functions()

    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}
    assert statistics.median(lengths.values()) < 12
