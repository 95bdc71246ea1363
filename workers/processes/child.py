"""A process of its own for what may end it: one question, one answer, or the reason why not."""

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, cast

from workers.errors import StorageError
from workers.processes.heartbeat import Heartbeat

IMAGE_TIMEOUT_S = 60.0
START_TIMEOUT_S = 120.0
# Decoding the largest image allowed takes 0.8 GB (RGB) to 3 GB (floating-point grey).
MEMORY_BYTES = 4 * 1024**3


def limit_memory() -> None:
    """Let this process have at most MEMORY_BYTES; macOS knows no such limit."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


class DeathError(Exception):
    """The process ended or hung, twice; the message is the reason for the image."""


class Child:
    """``python -m MODULE ARGUMENTS PARENT``, started when it is first asked.

    It writes one line when it is ready, and then a line for each that it reads. PARENT is
    the process id of this process.

    Args:
        heartbeat: Called twice a second while an answer is awaited; what it raises ends the wait.
    """

    def __init__(self, module: str, arguments: Sequence[str], heartbeat: Heartbeat) -> None:
        self._command = [sys.executable, "-P", "-m", module, *arguments, str(os.getpid())]
        self._heartbeat = heartbeat
        self._process: _Process | None = None

    def ask(self, question: bytes, timeout_s: float = IMAGE_TIMEOUT_S) -> bytes:
        """Return the answer to a question, of a second process if the first gave none.

        A process that was killed from outside costs its image one retry, never a wrong verdict.

        Raises:
            DeathError: When neither gave an answer.
            StorageError: When the process cannot even start working.
        """
        try:
            return self._ask_once(question, timeout_s)
        except DeathError:
            return self._ask_once(question, timeout_s)

    def _ask_once(self, question: bytes, timeout_s: float) -> bytes:
        self._process = self._process or _Process(self._command, self._heartbeat)
        try:
            return self._process.ask(question, timeout_s)
        except DeathError:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, if there is one; the next question starts another."""
        if self._process:
            self._process.stop()
            self._process = None


class _Process:
    def __init__(self, command: list[str], heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        try:
            self._read_line(START_TIMEOUT_S)
        except BaseException as error:
            self.stop()
            if isinstance(error, DeathError):
                message = f"The process for single images cannot start: {error}."
                raise StorageError(message) from error
            raise

    def ask(self, question: bytes, timeout_s: float) -> bytes:
        try:
            self._stdin.write(question + b"\n")
            self._stdin.flush()
        except BrokenPipeError as error:
            raise DeathError(self._cause()) from error
        return self._read_line(timeout_s)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()

    def _read_line(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while not select.select([self._stdout], [], [], 0.5)[0]:
            self._heartbeat()
            if time.monotonic() > deadline:
                raise DeathError(f"hangs: gave no result within {timeout_s:.0f} s")
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise DeathError(self._cause())
        return line

    def _cause(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"killed the process that read it ({signal.Signals(-code).name})"
        return f"ended the process that read it (exit code {code})"
