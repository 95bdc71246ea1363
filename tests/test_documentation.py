"""What README and docs claim exists."""

import inspect
import re

import pytest
import yaml

from cli.main import SECTIONS
from tests.builders.paths import ROOT
from workers.app import make_app

PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    ROOT / "deploy" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
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
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_listed_and_has_the_three_parts():
    folder = ROOT / "docs" / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    listed = re.findall(r"\]\(([0-9][^)]+)\)", (folder / "README.md").read_text("utf-8"))

    assert listed == [page.name for page in pages]
    for page in pages:
        headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
        assert headings[0].startswith(f"{page.name[:3]}: ")
        assert headings[1:] == ["Context", "Decision", "Consequences"]


def test_every_file_that_the_docs_name_exists():
    """Paths below the top level, with or without a function behind a colon."""
    places = re.compile(r"`((?:workers|orchestrator|cli|tests|deploy|docs|\.ci)/[^`\s:]*)[^`]*`")
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # past versions name what there was
            continue
        for place in places.findall(page.read_text("utf-8")):
            assert (ROOT / place).exists(), f"{page.name} names {place}"


def test_every_celery_setting_has_its_reason():
    reasons = (ROOT / "docs" / "broker.md").read_text("utf-8")
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


def test_where_to_change_what_names_existing_files_for_at_least_ten_tasks():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = re.search(r"## Where to change what\n(.*?)\n## ", text, re.DOTALL)[1]
    tasks = re.findall(r"^\| ((?:add|change|show) .*?) \| (.*) \|$", section, re.MULTILINE)

    assert len(tasks) >= 10
    for task, places in tasks:
        files = re.findall(r"`((?:workers|orchestrator|cli|tests)/[^`]*)`", places)
        assert files, f"{task!r} names no file"
        assert all((ROOT / name).exists() for name in files), task
        for name, file in re.findall(r"`(\w+)` (?:in|of) `([^`]+\.py)`", places):
            assert re.search(rf"\b{name}\b", (ROOT / file).read_text("utf-8")), f"{name} in {file}"
