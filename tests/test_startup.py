"""`poets --help` starts at once, because nothing heavy is imported."""

import subprocess
import sys

from cli.main import SECTIONS
from tests.builders.backbones import TINY_FILE

COMMANDS = [name for section in SECTIONS.values() for name in section]
HEAVY = ("tensorflow", "keras", "numpy", "celery", "pyarrow", "redis", "PIL", "rich")


def modules_after(code):
    listing = f"{code}; import sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return set(found.stdout.split())


def test_importing_the_cli_imports_nothing_heavy():
    assert modules_after("import cli.main").isdisjoint(HEAVY)


def test_the_help_of_no_command_imports_anything_heavy():
    code = (
        "import sys\n"
        "from cli.main import main\n"
        f"for name in {COMMANDS!r}:\n"
        "    main([name, '--help'], standalone_mode=False, prog_name='poets')\n"
        f"    heavy = sys.modules.keys() & set({HEAVY!r})\n"
        "    assert not heavy, f'poets {name} --help imports {heavy}'\n"
        "print()"
    )

    assert modules_after(code).isdisjoint(HEAVY)


def test_a_worker_child_and_the_orchestrator_never_import_tensorflow():
    code = "import workers.tasks, orchestrator.jobs.submit, orchestrator.health"

    assert modules_after(code).isdisjoint({"tensorflow", "keras"})


def test_computing_bottlenecks_never_imports_tensorflow():
    code = (
        "import numpy\n"
        "from pathlib import Path\n"
        "from workers.backbones.litert import LiteRTBackbone\n"
        f"backbone = LiteRTBackbone(Path({str(TINY_FILE)!r}))\n"
        "backbone.compute(numpy.zeros((1, *backbone.input_size, 3), 'u1'))\n"
        "print()"
    )

    assert modules_after(code).isdisjoint({"tensorflow", "keras"})
