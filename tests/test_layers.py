"""Imports point one way at every depth, and heavy libraries stay in the rooms that are theirs."""

import ast
import functools
from pathlib import Path

from tests.builders.paths import ROOT

MAY_IMPORT = {
    "workers": {"workers"},
    "orchestrator": {"orchestrator", "workers"},
    "cli": {"cli", "orchestrator", "workers"},
}
TENSORFLOW = {"tensorflow", "keras"}
PIXELS = {"PIL", "cv2", "simplejpeg"}
SOURCES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
# Names of modules; a package is its `__init__`.
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES
}


@functools.cache
def imported(path: Path, *, at_start: bool = False) -> tuple[str, ...]:
    """Return the names that a file imports, `from a import b` as both `a` and `a.b`.

    Args:
        at_start: Only what the import of the file itself imports, not its functions' imports.
    """
    tree = ast.parse(path.read_text("utf-8"))
    found: list[str] = []
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def room(path: Path) -> str:
    """Return the folder of a file below the root, as `workers/heads`."""
    return str(path.parent.relative_to(ROOT))


def test_every_file_is_looked_at_and_says_what_it_is_for():
    assert len(SOURCES) > 150
    assert {room(path) for path in SOURCES} >= {"workers/heads", "orchestrator/driving"}
    for path in SOURCES:
        assert path.read_text("utf-8").startswith('"""'), f"{path} does not say what it is for"


def test_imports_point_one_way():
    for path in SOURCES:
        package = path.relative_to(ROOT).parts[0]
        ours = roots(path) & set(MAY_IMPORT)
        assert ours <= MAY_IMPORT[package], f"{path} imports {ours - MAY_IMPORT[package]}"


def test_no_module_imports_itself_by_way_of_others():
    arrows = {
        module: set(imported(path, at_start=True)) & set(MODULES) - {module}
        for module, path in MODULES.items()
    }
    while arrows:
        # A circle is what is left when nothing more can be loaded first.
        loadable = {module for module, needed in arrows.items() if not needed & set(arrows)}
        assert loadable, f"a circle of imports among {sorted(arrows)}"
        arrows = {module: needed for module, needed in arrows.items() if module not in loadable}


def test_tensorflow_is_imported_only_by_backbones_and_exports():
    rooms = {room(path) for path in SOURCES if roots(path) & TENSORFLOW}

    assert rooms == {"workers/backbones", "workers/exports"}


def test_no_head_can_reach_tensorflow_through_an_export():
    for path in SOURCES:
        if room(path) in ("workers/heads", "workers/reports", "workers/reports/page"):
            assert not any(name.startswith("workers.exports") for name in imported(path)), path


def test_the_orchestrator_touches_no_pixels():
    for path in SOURCES:
        if path.is_relative_to(ROOT / "orchestrator"):
            assert not roots(path) & PIXELS, f"{path} touches pixels"


def test_no_test_imports_another():
    """What several tests build with is in `tests/builders`."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in set(imported(path)) - {own}:
            parts = name.split(".")
            is_of_tests = parts[0] == "tests" and any(
                part == "conftest" or part.startswith("test_") for part in parts
            )
            assert not is_of_tests, f"{path} imports {name}"


def test_every_worker_task_has_a_wire_name_of_ours():
    from workers.app import app

    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}

    assert ours == {
        "poets.compute_batch",
        "poets.label_batch",
        "poets.train_head",
        "poets.convert_backbone",
        "poets.probe",
    }
