"""What is installed is exactly the three packages."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.builders.paths import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in ("workers", "orchestrator", "cli", "tests", "deploy", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = tmp_path_factory.mktemp("wheel")
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(target)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_exactly_the_three_packages(wheel):
    top = {name.split("/")[0] for name in wheel if ".dist-info" not in name}

    assert top == {"workers", "orchestrator", "cli"}


def test_every_module_is_in_the_wheel(wheel):
    sources = {
        str(path.relative_to(ROOT))
        for package in ("workers", "orchestrator", "cli")
        for path in (ROOT / package).rglob("*.py")
    }

    assert sources <= set(wheel)


def test_templates_are_in_the_wheel(wheel):
    from workers.reports.page.page import _SCRIPTS

    parts = {f"workers/reports/page/{name}" for name in ("page.html", "page.css", *_SCRIPTS)}

    assert parts | {"workers/exports/model_readme.md"} <= set(wheel)


def test_the_package_can_not_be_uploaded_by_mistake():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert "Private :: Do Not Upload" in project["classifiers"]


def test_the_top_level_is_as_agreed():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}

    assert top == {
        "pyproject.toml",
        "requirements.lock",
        "workers",
        "orchestrator",
        "cli",
        "tests",
        "deploy",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        ".pre-commit-config.yaml",
        "Makefile",
        ".ci",
        ".gitignore",
        "docs",
    }


def test_every_dependency_is_locked_to_a_version_that_is_allowed_with_its_hashes():
    text = (ROOT / "requirements.lock").read_text("utf-8")
    entries = re.findall(r"^(\S+==[^\n]*) \\\n((?:    --hash=sha256:\w+(?: \\)?\n?)+)", text, re.M)
    locked = {(found := Requirement(line)).name: found for line, _ in entries}

    assert len(entries) == len(re.findall(r"^\S+==", text, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for wanted in map(Requirement, project["dependencies"]):
        (pin,) = locked[wanted.name].specifier
        assert pin.version in wanted.specifier
