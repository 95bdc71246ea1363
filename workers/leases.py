"""What workers tell the reconciler through Redis: only hints, all of which may be lost.

A lease says that somebody is working on an item right now; it expires by Redis' clock.
"""

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import redis

from workers.errors import LeaseLostError, PoetsError, StorageError
from workers.items import CONVERT, Item
from workers.settings import QUEUES

# Kombu's name for the hash of messages that were taken and not yet acknowledged.
UNACKED = "unacked"
# More than any message has: its body in base64, and what Celery adds.
MESSAGE_BYTES = 128 * 1024
LEASE_S = 6.0
_RENEW_S = 2.0
# Work that has shown no progress for this long hangs; its lease is not renewed.
STALL_S = 60.0
# Hints about runs that nobody asks for any more expire.
_FORGET_S = 14 * 24 * 3600
# A fence outlives every holder: Celery ends a task after half an hour (`workers.app.HARD_LIMIT_S`).
FENCE_S = 3600
_AT_ONCE = 1000
_log = logging.getLogger(__name__)


def connect(broker_url: str) -> redis.Redis:
    """Return a client for the broker; "redis+socket" is what kombu calls a Unix socket."""
    url = broker_url
    if url.startswith("redis+socket://"):
        parts = urlsplit(url)
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        url = f"unix://{parts.path}?db={database}"
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        # Whoever can write to the broker may have left any bytes.
        encoding_errors="replace",
        socket_timeout=10,
        socket_connect_timeout=5,
    )


# Patterns of keys of every run and item, for SCAN.
LEASES = "poets:*:lease:*"
# A run cannot be called so.
_WAITING = "poets:waiting/"
DRIVER_LOCKS = "poets:*:reconciler"


def run_of(driver_lock: str) -> str:
    """Return the run whose driver lock a key is."""
    return driver_lock.removeprefix("poets:").removesuffix(":reconciler")


# What Redis calls the types of the keys that all runs share. A number: messages sent so far.
SENT = "poets:sent"
SHARED_TYPES = {
    UNACKED: "hash",
    f"{UNACKED}_index": "zset",
    SENT: "string",
    **dict.fromkeys(QUEUES, "list"),
}


def remove_other_types(client: redis.Redis, types: Mapping[str, str]) -> bool:
    """Remove keys that are not of their type, which nothing could be read from or written to.

    Returns:
        Whether there was one.

    Raises:
        RedisError: When the broker does not answer.
    """
    found = {key: str(client.type(key)) for key in types}
    others = [key for key, kind in found.items() if kind not in (types[key], "none")]
    for key in others:
        _log.warning(
            "Warning: the broker's key %r was a %s and not a %s, so poets did not write it. It "
            "was removed; what is done is in storage.",
            *(key, found[key], types[key]),
        )
        client.delete(key)
    return bool(others)


class Keys:
    """Names in Redis of everything that belongs to one run.

    Attributes:
        driver_lock: Held by the process that drives the run.
        starts: Hash: item -> how often it was started and neither finished nor gave up.
        done: List of JSON [batch, failed images], oldest first.
        failed_attempts: Hash: item -> why its last attempt gave up (storage full, ...).
        storage: Which storage the run is in, as its driver sees it.
    """

    def __init__(self, run: str) -> None:
        self._prefix = f"poets:{run}:"
        self.driver_lock = self._prefix + "reconciler"
        self.starts = self._prefix + "starts"
        self.done = self._prefix + "done"
        self.failed_attempts = self._prefix + "troubles"
        self.storage = self._prefix + "storage"

    @property
    def types(self) -> dict[str, str]:
        """What Redis calls the type of each; see `remove_other_types`."""
        hashes = (self.starts, self.failed_attempts)
        strings = dict.fromkeys((self.driver_lock, self.storage), "string")
        return {**strings, self.done: "list", **dict.fromkeys(hashes, "hash")}

    def lease(self, item: str) -> str:
        return f"{self._prefix}lease:{item}"

    def fence(self, item: str) -> str:
        """Counter: the token of the newest holder. It expires an hour after that one began."""
        return f"{self._prefix}fence:{item}"


@dataclass
class Lease:
    """Held while a block works on an item; a thread renews it.

    A block that ends normally or with one of our errors resets the count of starts. Work
    that died, hung or failed for no known reason leaves its start counted.

    Attributes:
        attempt: 1 for the first start; more when earlier ones died.
        token: Grows with every holder; an older one must not commit any more. 0 when Redis
            did not answer.
        ends_process: Whether a stall ends this process, so that the next attempt can find
            out which image hangs, and the process is free for other work.
    """

    client: redis.Redis
    run: str
    item: Item
    attempt: int = field(default=1, init=False)
    token: int = field(default=0, init=False)
    ends_process: bool = field(default=False, init=False)
    _progress: float = field(default_factory=time.monotonic, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._keys = Keys(self.run)
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        keys = self._keys
        with _hints(), self.client.pipeline() as pipe:
            pipe.incr(keys.fence(self.item.key))
            pipe.hincrby(keys.starts, self.item.key, 1)
            self._take(pipe)
            pipe.expire(keys.fence(self.item.key), FENCE_S)
            pipe.expire(keys.starts, _FORGET_S)
            answers = pipe.execute(raise_on_error=False)
            # What is no number, or another type, says nothing.
            token, attempt = (one if isinstance(one, int) else 0 for one in answers[:2])
            self.token, self.attempt = token, max(1, attempt)
            for error in answers:
                if isinstance(error, redis.RedisError):
                    raise error
        self._renewer.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._ended.set()
        self._renewer.join()
        # When there is a newer holder, the lease and the count are no longer ours to remove.
        with contextlib.suppress(LeaseLostError), _hints():
            self.check()
            with self.client.pipeline() as pipe:
                if error is None or isinstance(error, PoetsError):
                    pipe.hdel(self._keys.starts, self.item.key)
                pipe.delete(self._keys.lease(self.item.key))
                pipe.execute()

    def heartbeat(self) -> None:
        """Report progress."""
        self._progress = time.monotonic()

    def check(self) -> None:
        """Raise LeaseLostError when a newer holder has taken over.

        When Redis does not answer, storage alone decides (create-if-absent).
        """
        with _hints():
            newest = self.client.get(self._keys.fence(self.item.key))
            # A holder without a token cannot tell; storage decides. So it does with text that
            # somebody else has put there.
            is_number = str(newest).isdecimal()
            if self.token and is_number and int(str(newest)) > self.token:
                raise LeaseLostError(f"{self.item.key} of run {self.run} was taken over.")

    def _take(self, client: redis.Redis) -> None:
        client.set(self._keys.lease(self.item.key), 0, px=int(LEASE_S * 1000))

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_S):
            if time.monotonic() - self._progress < STALL_S:
                with _hints():
                    self._take(self.client)
            elif self.ends_process:
                _log.warning("batch %s of run %s hangs; this process ends", self.item.key, self.run)
                # Nothing milder ends what hangs in native code.
                os.kill(os.getpid(), signal.SIGKILL)


def tell_waiting(client: redis.Redis, worker: str, reason: str, for_s: float) -> None:
    """Tell whoever asks that a worker cannot start yet, and why."""
    with _hints():
        client.set(f"{_WAITING}{worker}", reason, px=int(for_s * 1000))


def waiting_workers(client: redis.Redis) -> dict[str, str]:
    """Return why each worker that waits cannot start yet.

    Raises:
        RedisError: When the broker does not answer.
    """
    keys = sorted(map(str, client.scan_iter(f"{_WAITING}*", count=1000)))
    return {key.removeprefix(_WAITING): str(client.get(key) or "") for key in keys}


def is_idle(client: redis.Redis) -> bool:
    """Whether no task of any run is under way, as far as the broker can tell.

    Raises:
        RedisError: When it cannot tell.
    """
    return not client.hlen(UNACKED) and not any(client.scan_iter(LEASES))


def tell_storage(client: redis.Redis, run: str, storage: str) -> None:
    """Tell workers which storage a run is in.

    Raises:
        RedisError: When the broker does not answer.
    """
    client.set(Keys(run).storage, storage, ex=_FORGET_S)


def check_storage(client: redis.Redis, run: str, storage: str, root: Path) -> None:
    """See that this process has the storage that a run is in.

    Raises:
        StorageError: When it has another one.
    """
    with _hints():
        expected = client.get(Keys(run).storage)
        if expected and str(expected) != storage:
            raise StorageError(
                f"The folder {root} is another storage than that of run {run!r}. Set "
                "POETS_STORAGE to the storage of the command that submitted the run."
            )


def report_done(client: redis.Redis, run: str, item: Item, failed: int = 0) -> None:
    """Tell the reconciler that an item is in storage."""
    keys = Keys(run)
    with _hints(), client.pipeline() as pipe:
        pipe.hdel(keys.failed_attempts, item.key)
        if item.batch is not None:
            pipe.rpush(keys.done, json.dumps([item.batch, failed]))
            pipe.expire(keys.done, _FORGET_S)
        pipe.execute()


def report_failed_attempt(client: redis.Redis, run: str, item: Item, reason: str) -> None:
    """Tell the reconciler why an attempt gave up; it decides what happens next."""
    with _hints():
        client.hset(Keys(run).failed_attempts, item.key, reason)
        client.expire(Keys(run).failed_attempts, _FORGET_S)


def forget_run(client: redis.Redis, run: str, batches: int) -> None:
    """Remove what Redis has of a run that has ended, but for the trainer's fence.

    That one ends by itself. Until then, a trainer that was taken over may not commit into a
    later run of the same name either.
    """
    keys = Keys(run)
    names = [keys.starts, keys.done, keys.failed_attempts, keys.storage, keys.fence(CONVERT.key)]
    names += [keys.fence(str(batch)) for batch in range(batches)]
    with _hints():
        for first in range(0, len(names), _AT_ONCE):
            client.unlink(*names[first : first + _AT_ONCE])


@contextlib.contextmanager
def _hints() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        _log.warning("the broker took no hint, so storage decides: %s", error)
