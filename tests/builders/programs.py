"""Run `poets` as a user does: as a program, or as a function of this process."""

import glob
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.builders.paths import ROOT


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start `poets` as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        # `-m` looks into the current folder first.
        cwd=ROOT,
    )


def poets(*arguments: object, exit_code: int = 0, **environment: str) -> tuple[str, str]:
    """Run `poets` to its end and return (stdout, stderr)."""
    process = start(*arguments, **environment)
    out, err = process.communicate()
    assert process.returncode == exit_code, f"exit code {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return out, err


def poets_json(*arguments: object, **environment: str) -> dict:
    """Run `poets ... --json` and return what it printed."""
    return json.loads(poets(*arguments, "--json", **environment)[0])


def wait_until(condition):
    """Return the first true value of `condition()`; what takes too long, pytest's timeout ends."""
    while True:
        value = condition()
        if value:
            return value
        time.sleep(0.02)


def our_processes(runtime: str) -> list[int]:
    """Return the ids of all processes of the embedded stack below `runtime`."""
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            content = Path(path).read_bytes()
        except OSError:
            continue
        if f"POETS_BROKER_URL=redis+socket://{runtime}/".encode() in content:
            found.append(int(path.split("/")[2]))
    return found


def kill(pid: int) -> None:
    """End a process as the out-of-memory killer does."""
    os.kill(pid, signal.SIGKILL)


def invoke(*arguments: object) -> Result:
    """Run a command of `poets` within this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def set_settings_of_nobody(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let `poets` keep everything below a folder."""
    for name in list(os.environ):
        if name.startswith("POETS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("POETS_STORAGE", str(folder / "storage"))
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("COLUMNS", "100")
