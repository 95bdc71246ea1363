"""Imports point one way, and TensorFlow stays where it belongs."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "workers": {"workers"},
    "orchestrator": {"orchestrator", "workers"},
    "cli": {"cli", "orchestrator", "workers"},
}
SOURCES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imported(path)} & set(MAY_IMPORT)

    assert ours <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tensorflow_is_imported_only_by_backbones_and_heads(path):
    heavy = {name.split(".")[0] for name in imported(path)} & {"tensorflow", "keras"}

    assert not heavy or path.parent.name in ("backbones", "heads")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_holds_one_idea(path):
    lines = path.read_text("utf-8").splitlines()

    assert len(lines) <= 260
    assert not lines or lines[0].startswith('"""')


def test_the_orchestrator_touches_no_pixels():
    for path in (ROOT / "orchestrator").glob("*.py"):
        assert "PIL" not in {name.split(".")[0] for name in imported(path)}


def test_every_worker_task_has_a_wire_name_of_ours():
    from workers.app import app

    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}

    assert ours == {
        "poets.compute_batch",
        "poets.label_batch",
        "poets.train_head",
        "poets.convert_backbone",
    }
