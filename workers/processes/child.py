"""Another process for what may end or hang it: a question goes in, answers come out.

`Child` is this side; `begin` and `serve` are the other. Each question and each answer is a line
of JSON, with bytes as base64. An empty line says that the process is ready for a question: when it
has started, and after its last answer to one.
"""

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Generic, TypeVar, cast

import msgspec

from workers.errors import StorageError
from workers.processes.heartbeat import Heartbeat, no_heartbeat
from workers.processes.parent_death import end_with_parent
from workers.storage.atomic import storage_errors

IMAGE_TIMEOUT_S = 60.0
START_TIMEOUT_S = 120.0
# Decoding the largest image allowed takes 0.8 GB (RGB) to 3 GB (floating-point grey).
MEMORY_BYTES = 4 * 1024**3

Question = TypeVar("Question")
Answer = TypeVar("Answer")
# Sends one answer.
Tell = Callable[[object], None]


class DeathError(Exception):
    """The process ended or hung; the message says how, as the reason for an image.

    Attributes:
        last_words: Last line that the process wrote on stderr for this question; may be empty.
        is_hang: Whether it hung, which may be the fault of a mount.
    """

    def __init__(self, cause: str, last_words: str, is_hang: bool = False) -> None:
        super().__init__(cause)
        self.last_words = last_words
        self.is_hang = is_hang


class Child(Generic[Answer]):
    """``python -P -m MODULE ARGUMENTS PARENT``, started when needed, and again after its death.

    PARENT is the process id of this process. Use it as a context manager, or call `stop`.

    Args:
        answer_type: Type of an answer; `msgspec` makes it from JSON.
        heartbeat: Called twice a second while an answer is awaited; what it raises ends the wait.
        environment: Variables besides those of this process.
    """

    def __init__(
        self,
        module: str,
        arguments: list[str],
        answer_type: Any,
        heartbeat: Heartbeat = no_heartbeat,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._module, self._arguments = module, arguments
        self._answer_type = answer_type
        self._heartbeat = heartbeat
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: object, timeout_s: float = IMAGE_TIMEOUT_S) -> Answer:
        """Return the only answer to a question, of a second process if the first gave none.

        A process that was killed from outside costs its image one retry, never a wrong verdict.

        Raises:
            DeathError: When neither gave an answer.
            StorageError: When the process cannot even start working.
        """
        try:
            [answer] = self.answers(question, timeout_s)
        except DeathError:
            [answer] = self.answers(question, timeout_s)
        return answer

    def answers(self, question: object, timeout_s: float) -> Iterator[Answer]:
        """Yield the answers to a question, each within `timeout_s` of the one before.

        Raises:
            DeathError: When the process ends or hangs before its last answer.
            StorageError: When the process cannot even start working.
        """
        self.wait_until_ready()
        try:
            self._write(_encode(question))
            while line := self._read_line(timeout_s):
                yield msgspec.convert(json.loads(line), self._answer_type)
        except BaseException:
            # The next question must not meet answers to this one.
            self.stop()
            raise

    def wait_until_ready(self) -> None:
        """Start the process if there is none, and wait until it can take a question.

        Raises:
            StorageError: When it cannot even start working.
        """
        if self._process is not None:
            return
        self._unread = b""
        # A fault of the machine, so that it counts against no image.
        with storage_errors(f"start the process {self._module}"):
            self._messages = _nameless_file()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module, *self._arguments, str(os.getpid())],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
            )
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        try:
            self._read_line(START_TIMEOUT_S)
        except DeathError as died:
            self.stop()
            said = f": {died.last_words}" if died.last_words else "."
            message = f"The process {self._module} cannot start: {died}{said}"
            raise StorageError(message) from died
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        # Closing flushes a question that the process did not read.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()
        self._messages.close()

    def __enter__(self) -> "Child[Answer]":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write(self, question: bytes) -> None:
        # The process shares the position in this file, which thus stays small.
        self._messages.seek(0)
        self._messages.truncate()
        try:
            self._stdin.write(question)
            self._stdin.flush()
        except BrokenPipeError as error:
            raise self._death() from error

    def _read_line(self, timeout_s: float) -> bytes:
        """Return the next line without its end."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            if select.select([self._stdout], [], [], 0.5)[0]:
                found = os.read(self._stdout.fileno(), 1 << 16)
                if not found:
                    raise self._death()
                self._unread += found
                continue
            self._heartbeat()
            if time.monotonic() > deadline:
                raise DeathError(
                    f"hangs: gave no result within {timeout_s:.0f} s", "", is_hang=True
                )
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _death(self) -> DeathError:
        code = cast("subprocess.Popen[bytes]", self._process).wait()
        self._messages.seek(0)
        lines = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        how = f"ended the process that read it (exit code {code})"
        if code < 0:
            how = f"killed the process that read it ({signal.Signals(-code).name})"
        return DeathError(how, lines[-1] if lines else "")


def _nameless_file() -> IO[bytes]:
    # In memory where that is possible: a full or read-only disk must not end this process.
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("poets"), "w+b")
    return tempfile.TemporaryFile()


def begin() -> list[str]:
    """Return the arguments that `Child` was given, in the process that it started.

    The process ends with its parent from now on, and leaves to it the signals that reach every
    process of a terminal (Ctrl-C, a closed window) or of a service.
    """
    *arguments, parent = sys.argv[1:]
    end_with_parent(parent=int(parent))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return arguments


def serve(question_type: type[Question], answer: Callable[[Question, Tell], None]) -> None:
    """Answer the questions of the parent until it has no more.

    Args:
        question_type: Type of a question; `msgspec` makes it from JSON.
        answer: Calls `tell` with each answer to a question.
    """
    # What a library prints must not be taken for an answer.
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def send(line: bytes) -> None:
        stdout.write(line)
        stdout.flush()

    send(b"\n")
    for line in sys.stdin.buffer:
        answer(msgspec.convert(json.loads(line), question_type), lambda one: send(_encode(one)))
        send(b"\n")


def _encode(value: object) -> bytes:
    # msgspec's own encoder refuses names of files that are not UTF-8.
    return json.dumps(msgspec.to_builtins(value)).encode() + b"\n"


def limit_memory() -> None:
    """Let this process have at most MEMORY_BYTES; macOS knows no such limit."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
