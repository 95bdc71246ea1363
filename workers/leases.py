"""What workers tell the reconciler through Redis: hints only, all of it may be lost.

A lease says that somebody works on an item right now; Redis' own clock ends it. Items
are "convert", "train", or the number of a batch.
"""

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import redis

from workers.errors import LeaseLostError, PoetsError

# What kombu calls the hash of messages that were taken and not acknowledged.
UNACKED = "unacked"
LEASE_S = 6.0
_RENEW_S = 2.0
# A lease is not renewed for work that has shown no progress for this long: it hangs.
STALL_S = 60.0
# Hints of runs that nobody asks for any more go away by themselves.
_FORGET_S = 14 * 24 * 3600
_log = logging.getLogger(__name__)


def connect(broker_url: str) -> redis.Redis:
    """Return a client for the broker, in which "redis+socket" is kombu's word for unix."""
    url = broker_url
    if url.startswith("redis+socket://"):
        parts = urlsplit(url)
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        url = f"unix://{parts.path}?db={database}"
    return redis.Redis.from_url(
        url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5
    )


@dataclass(frozen=True)
class Keys:
    """Names in Redis of all that belongs to one run."""

    run: str

    def of(self, name: str) -> str:
        return f"poets:{self.run}:{name}"

    def lease(self, item: str) -> str:
        return self.of(f"lease:{item}")

    @property
    def reconciler(self) -> str:
        return self.of("reconciler")

    @property
    def starts(self) -> str:
        """Hash: item -> how often it was started and neither finished nor gave up."""
        return self.of("starts")

    @property
    def done(self) -> str:
        """List of JSON [batch, failed images], oldest first."""
        return self.of("done")

    @property
    def failed_attempts(self) -> str:
        """Hash: item -> why its last attempt gave up (storage full, ...)."""
        return self.of("troubles")

    def fence(self, item: str) -> str:
        """Counter: the token of the newest holder."""
        return self.of(f"fence:{item}")


@dataclass
class Lease:
    """Held while an item is worked on.

    Attributes:
        attempt: 1 for the first start; more when earlier ones died.
        token: Grows with every holder; an older one must not commit any more.
        ends_process: Whether a stall ends this process, so that the next attempt can find
            out which image hangs, and the process serves other work.
    """

    client: redis.Redis
    keys: Keys
    item: str
    attempt: int = 1
    token: int = 0
    ends_process: bool = False
    _progress: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)

    def heartbeat(self) -> None:
        """Say that the work goes on."""
        self._progress = time.monotonic()

    def check(self) -> None:
        """Raise LeaseLostError when a newer holder has taken over.

        When Redis does not answer, storage alone decides (create-if-absent).
        """
        with _hints():
            newest = self.client.get(self.keys.fence(self.item))
            # Without a token of its own, the holder cannot tell; storage does.
            if self.token and newest is not None and int(str(newest)) > self.token:
                raise LeaseLostError(f"{self.item} of run {self.keys.run} was taken over.")

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_S):
            if time.monotonic() - self._progress < STALL_S:
                with _hints():
                    self.client.set(self.keys.lease(self.item), 0, px=_milliseconds())
            elif self.ends_process:
                _log.warning("batch %s of run %s hangs: ended", self.item, self.keys.run)
                # Nothing milder ends what hangs in native code.
                os.kill(os.getpid(), signal.SIGKILL)


def is_idle(client: redis.Redis) -> bool:
    """Return whether no task is under way, of whatever run, as far as the broker can tell.

    Raises:
        RedisError: When it cannot tell.
    """
    return not client.hlen(UNACKED) and not any(client.scan_iter(Keys("*").lease("*")))


@contextlib.contextmanager
def hold_lease(client: redis.Redis, run: str, item: str) -> Iterator[Lease]:
    """Hold the lease of an item for as long as the block runs.

    A block that ends by itself or by an error of ours resets the count of starts; only
    work that died, hung or failed without a reason goes on counting.
    """
    keys = Keys(run)
    lease = Lease(client, keys, item)
    with _hints(), client.pipeline() as pipe:
        pipe.incr(keys.fence(item))
        pipe.hincrby(keys.starts, item, 1)
        pipe.set(keys.lease(item), 0, px=_milliseconds())
        pipe.expire(keys.fence(item), _FORGET_S)
        pipe.expire(keys.starts, _FORGET_S)
        lease.token, lease.attempt = pipe.execute()[:2]
    renewer = threading.Thread(target=lease._renew, daemon=True)
    renewer.start()
    is_explained = False
    try:
        yield lease
        is_explained = True
    except PoetsError:
        is_explained = True
        raise
    finally:
        lease._ended.set()
        renewer.join()
        _give_up(lease, is_explained)


def _give_up(lease: Lease, is_explained: bool) -> None:
    # A newer holder's lease and count are its own.
    with contextlib.suppress(LeaseLostError), _hints():
        lease.check()
        with lease.client.pipeline() as pipe:
            if is_explained:
                pipe.hdel(lease.keys.starts, lease.item)
            pipe.delete(lease.keys.lease(lease.item))
            pipe.execute()


def report_done(client: redis.Redis, run: str, item: str, failed: int = 0) -> None:
    """Tell the reconciler that an item is in storage."""
    keys = Keys(run)
    with _hints(), client.pipeline() as pipe:
        pipe.hdel(keys.failed_attempts, item)
        if item.isdigit():
            pipe.rpush(keys.done, json.dumps([int(item), failed]))
            pipe.expire(keys.done, _FORGET_S)
        pipe.execute()


def report_failed_attempt(client: redis.Redis, run: str, item: str, reason: str) -> None:
    """Tell the reconciler why an attempt gave up; it decides what happens next."""
    with _hints():
        client.hset(Keys(run).failed_attempts, item, reason)
        client.expire(Keys(run).failed_attempts, _FORGET_S)


@contextlib.contextmanager
def _hints() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        _log.warning("the broker did not take a hint, storage decides: %s", error)


def _milliseconds() -> int:
    return int(LEASE_S * 1000)
