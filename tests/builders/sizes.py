"""Print how long files and functions are: a report, and no gate (`make sizes`)."""

import ast
import statistics
from pathlib import Path

from tests.builders.paths import ROOT

PACKAGES = ("workers", "orchestrator", "cli")


def function_lengths(path: Path) -> dict[str, int]:
    """Return the lines of each function of a Python file, by file, line and name."""
    tree = ast.parse(path.read_text("utf-8"))
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }


def package_functions() -> dict[str, int]:
    """Return the lines of every function of the product."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {name: lines for path in files for name, lines in function_lengths(path).items()}


def main() -> None:
    """Print the report."""
    suffixes = {".py", ".js", ".css", ".html", ".md"}
    files = {
        path.relative_to(ROOT): len(path.read_text("utf-8").splitlines())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in suffixes
    }
    functions = package_functions()
    print(f"{sum(files.values()):,} lines in {len(files)} files")
    print(
        f"{len(functions):,} functions: median {statistics.median(functions.values()):g} lines, "
        f"longest {max(functions.values())}"
    )
    for name, lines in files.items():
        if lines > 300:
            print(f"{lines:6} lines  {name}")
    for function, lines in functions.items():
        if lines > 60:
            print(f"{lines:6} lines  {function}")


if __name__ == "__main__":
    main()
