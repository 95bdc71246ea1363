"""The help of every command: groups where there are many options, and room for the text."""

import re

import pytest

from cli.help_pages import Context
from cli.main import SECTIONS, main
from tests.builders.programs import invoke

COMMANDS = [name for section in SECTIONS.values() for name in section]


def headings(name):
    return re.findall(r"^(\w[\w ]*):$", invoke(name, "--help").stdout, flags=re.MULTILINE)


def test_many_options_are_in_groups():
    assert headings("submit-dataset") == [
        "Options", "Labels and splits", "Network", "Solver", "Evaluation", "Distortions", "Output",
        "Where",
    ]  # fmt: skip
    assert "Where" in headings("classify-dir")
    assert "Solver" in headings("retrain")


def test_few_options_are_in_one():
    assert headings("runs") == ["Options"]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [60, 80])
def test_help_fits_its_terminal(name, width):
    command = main.get_command(None, name)
    context = Context(command, info_name=f"poets {name}", terminal_width=width - 2)

    lines = command.get_help(context).splitlines()

    # Examples are for copying, and are not broken; neither is the name of a flag.
    prose = [line for line in lines if not line.strip().startswith(("poets ", "--", "-o", "eval"))]
    assert max(map(len, prose)) <= width


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_sentence(name):
    for param in main.get_command(None, name).params:
        text = getattr(param, "help", None) or "An argument has none."
        assert text[0].isupper(), (param.name, text)
        assert re.search(r"[.\]]$", text), (param.name, text)
