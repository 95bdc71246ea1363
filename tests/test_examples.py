"""The programs on our pages run with the packages that the page names, and no others."""

import re
import sys

import pytest

from tests.builders.environments import run_with
from tests.builders.models import save_tiny_model
from tests.builders.paths import ROOT
from tests.builders.pictures import COLOURS, make_picture
from workers.labelling import classify_files

PAGES = sorted((ROOT / "docs").rglob("*.md"))
SECTION = "Using a model elsewhere"


def programs_of(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_program_that_labels_without_poets_needs_the_packages_that_it_names(tmp_path):
    section = (ROOT / "docs" / "results.md").read_text("utf-8").split(f"## {SECTION}\n")[1]
    said = re.search(r"(\w+) packages are enough: (.*?)\.\n", section, re.DOTALL)
    names = re.findall(r"`([\w-]+)`", said[2])
    assert said[1] == {3: "three", 4: "four", 5: "five"}[len(names)]
    model = save_tiny_model(tmp_path / "model", COLOURS)
    picture = make_picture(tmp_path / "picture.jpg", (90, 60, 170))

    printed = run_with(tuple(names), programs_of(section)[0], model, picture)

    (ours,) = classify_files(model, [str(picture)], len(COLOURS))
    assert printed.splitlines() == [
        f"{label} (score = {score:.5f})" for label, score in ours.ranked
    ]


def test_each_package_that_is_named_is_needed():
    *_, program = programs_of((ROOT / "docs" / "results.md").read_text("utf-8"))

    imported = set(re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE))

    assert imported - sys.stdlib_module_names == {"cv2", "numpy", "ai_edge_litert", "PIL"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_other_program_runs_with_python_alone(page):
    for program in programs_of(page.read_text("utf-8")):
        if "sys.argv" not in program:
            run_with((), program)


def test_an_interpreter_has_no_other_packages():
    with pytest.raises(AssertionError, match="No module named 'numpy'"):
        run_with(("pillow",), "import PIL.Image; import numpy")
