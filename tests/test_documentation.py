"""What README and docs claim exists."""

import inspect
import re

import pytest
import yaml

from cli.main import SECTIONS
from tests.builders.paths import ROOT
from workers.app import make_app

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = {name for section in SECTIONS.values() for name in section}
README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_begins_with_its_two_commands():
    first = re.search(r"```sh\n(.*?)```", README, re.DOTALL)[1]

    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    rules = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo:", rules, re.MULTILINE)
    assert re.search(r"^test:", rules, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page):
    text = page.read_text("utf-8")
    named = set(re.findall(r"`poets ([a-z][a-z-]+)", text))
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        named |= set(re.findall(r"^ *poets ([a-z][a-z-]+)", block, re.MULTILINE))

    assert named <= COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_readme_names_every_command(name):
    assert re.search(rf"`(poets )?{name}\b", README)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_celery_setting_has_its_reason():
    reasons = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    settings = re.findall(r"^        (\w+)=", inspect.getsource(make_app), re.MULTILINE)

    assert len(settings) > 15
    for name in settings:
        assert f"`{name}" in reasons, name


def test_compose_has_the_services_that_its_readme_lists():
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "deploy" / "README.md").read_text(), re.M)

    assert set(compose["services"]) == set(listed)
    broker = " ".join(compose["services"]["broker"]["command"])
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--requirepass"):
        assert option in broker


def test_every_test_that_shows_a_promise_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text("utf-8")))
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))


def test_every_fault_that_is_tried_is_told_of():
    told = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE):
            assert name in told, name
