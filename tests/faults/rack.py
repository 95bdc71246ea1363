"""A rack of machines in small: a server, workers and drivers, each of which can be killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from orchestrator.embedded.supervisor import find_server
from tests.builders.paths import ROOT
from tests.builders.programs import our_processes, wait_until
from workers.leases import connect

AOF = ("--appendonly", "yes", "--save", "")
FORGETFUL = ("--appendonly", "no", "--save", "")


@dataclass
class Program:
    """A program that a test has started; what it says is in a file."""

    process: subprocess.Popen[str]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """Return all of its messages so far."""
        return self.err.read_text("utf-8", "replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, exit_code: int = 0) -> str:
        """Wait for its end and return what it printed."""
        assert self.process.wait() == exit_code, self.said()
        return self.out.read_text("utf-8")

    def result(self) -> dict[str, Any]:
        """Wait for a good end and return the JSON that it printed."""
        return dict(json.loads(self.end()))


@dataclass
class Rack:
    """A Valkey server on a unix socket, and the programs that use it."""

    folder: Path
    scratch: Path
    options: tuple[str, ...] = AOF
    programs: list[Program] = field(default_factory=list)
    server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.folder}/s?virtual_host=0"

    @property
    def client(self) -> redis.Redis:
        return connect(self.url)

    def start_server(self) -> None:
        """Start the server, also again; returns when it answers."""
        (self.folder / "s").unlink(missing_ok=True)
        command = [find_server(), "--port", "0", "--unixsocket", str(self.folder / "s")]
        command += ["--dir", str(self.folder), "--maxmemory-policy", "noeviction", *self.options]
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill_server(self) -> None:
        if self.server is not None:
            self.server.kill()
            self.server.wait()

    def start(
        self, *arguments: object, within: tuple[str, ...] = (), **environment: str
    ) -> Program:
        """Start ``python -m ARGUMENTS``.

        Args:
            within: Words before these, of a program that ends by becoming them.
        """
        number = len(self.programs)
        out, err = self.scratch / f"{number}.out", self.scratch / f"{number}.err"
        with out.open("w") as printed, err.open("w") as said:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                text=True,
                env={**os.environ, "POETS_BROKER_URL": self.url, **environment},
                cwd=ROOT,
            )
        self.programs.append(Program(process, out, err))
        return self.programs[-1]

    def poets(self, *arguments: object, **environment: str) -> Program:
        return self.start("cli.main", *arguments, **environment)

    def worker(
        self,
        concurrency: int = 1,
        *,
        queues: str = "",
        grace_s: float = 2.0,
        within: tuple[str, ...] = (),
        **environment: str,
    ) -> Program:
        which = ("--queues", queues) if queues else ()
        settings = ("--concurrency", concurrency, "--grace-s", grace_s, *which)
        return self.start("workers", *settings, within=within, POETS_DEVICE="cpu", **environment)

    def processes(self) -> list[int]:
        """Return the ids of all processes that use this server."""
        return our_processes(str(self.folder))

    def clear(self) -> None:
        """End everything, and see that nothing stays."""
        for program in self.programs:
            with contextlib.suppress(ProcessLookupError):
                program.process.send_signal(signal.SIGCONT)
            program.kill()
        self.kill_server()
        wait_until(lambda: not self.processes())
        shutil.rmtree(self.folder)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


@contextlib.contextmanager
def recovery(what: str) -> Iterator[None]:
    """Print how long the block took: from a fault until the work has gone on (`pytest -rP`)."""
    since = time.monotonic()
    yield
    print(f"recovery: {time.monotonic() - since:.1f} s, {what}")


@contextlib.contextmanager
def set_up_rack(scratch: Path, options: tuple[str, ...] = AOF) -> Iterator[Rack]:
    """Yield a rack whose server runs; its folder's name is short, as a socket's must be."""
    rack = Rack(Path(tempfile.mkdtemp(prefix="rack-")), scratch, options)
    try:
        rack.start_server()
        yield rack
    finally:
        rack.clear()


def children_of(pid: int) -> list[int]:
    """Return the process ids of the children of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
