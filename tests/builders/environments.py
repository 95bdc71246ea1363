"""An interpreter that has some packages, and what these need, and nothing else."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

# A finder before all others, since links to some packages alone would not do: cv2 looks for itself.
_ALONE = """
import sys
from importlib.machinery import PathFinder

class _Alone:
    def find_spec(self, name, path=None, target=None):
        is_stranger = name.split(".")[0] not in {names!r}
        if is_stranger and PathFinder.find_spec(name.split(".")[0], {folders!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, _Alone())
"""


def modules_of(packages: tuple[str, ...]) -> set[str]:
    """Return the modules that `pip install` of the packages brings, as they are installed here.

    What this Python or machine does not need, and is not here, is left out.
    """
    left, known, modules = list(packages), set(), set()
    while left:
        name = left.pop()
        spelled = re.sub(r"[-_.]+", "-", name).lower()
        if spelled in known:
            continue
        known.add(spelled)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in packages:
                raise
            continue
        modules |= {file.parts[0].split(".")[0] for file in found.files or []}
        requirements = [text for text in found.requires or [] if "extra ==" not in text]
        left += [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in requirements]
    return modules - {""}


def run_with(
    packages: tuple[str, ...], program: str, *arguments: object, cwd: Path | None = None
) -> str:
    """Return what a program prints on stdout in an interpreter with these packages alone."""
    folders = [folder for folder in sys.path if folder.endswith("site-packages")]
    done = subprocess.run(
        # Without `site`, so that nothing of this environment is there before the finder.
        [
            sys.executable, "-S", "-P", "-c",
            _ALONE.format(names=modules_of(packages), folders=folders) + program,
            *map(str, arguments),
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(folders)},
        cwd=cwd,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
