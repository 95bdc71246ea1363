"""The broker as the orchestrator sees it: what is queued, sending, who drives, and is it safe."""

import contextlib
import logging
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from orchestrator.driving.queues import Queues, parse_known
from workers.errors import BrokerError
from workers.items import Item
from workers.leases import SENT, SHARED_TYPES, Keys, connect, remove_other_types
from workers.settings import Settings

_MINIMUM_VERSION = (6, 2)
# Fewer than the largest number of Redis has.
_DIGITS = 18
_LEASE_S = 15
_RENEW_S = 1.0
_NEVER = -1  # as Redis says of a key that does not expire
_log = logging.getLogger("poets.broker")


@dataclass(frozen=True)
class Broker:
    """A connection to Redis or Valkey, and the Celery application that sends through it."""

    client: redis.Redis
    app: Any
    queues: Queues

    def leased(self, run: str, likely: Sequence[Item]) -> set[Item]:
        """Return the items that somebody works on.

        Args:
            likely: Those that may be under way; none when that is not known.
        """
        if not likely:
            prefix = Keys(run).lease("")
            keys = self.client.scan_iter(f"{prefix}*")
            return set(parse_known(str(key).removeprefix(prefix) for key in keys))
        leases = self.client.mget([Keys(run).lease(item.key) for item in likely])
        return {item for item, lease in zip(likely, leases, strict=True) if lease is not None}

    def read_hash(self, key: str) -> dict[Item, str]:
        """Return a hash of Redis whose fields are items."""
        found = {str(name): str(value) for name, value in self.client.hgetall(key).items()}
        return {item: found[item.key] for item in parse_known(found)}

    def read_counts(self, key: str) -> dict[Item, int]:
        """Return a hash of Redis that counts items; what is no number is removed."""
        found = self.read_hash(key)
        for item, text in found.items():
            if not (text.isdecimal() and len(text) < _DIGITS):
                _log.warning("Warning: %r counts nothing for %s; it was removed.", key, item.key)
                self.client.hdel(key, item.key)
        return {item: int(n) for item, n in found.items() if n.isdecimal() and len(n) < _DIGITS}

    def remove_strangers(self, run: str) -> bool:
        """Remove keys that poets cannot have written, as they are of another type.

        Returns:
            Whether there was one, so that the next look at the broker may succeed.
        """
        try:
            return remove_other_types(self.client, SHARED_TYPES | Keys(run).types)
        except redis.RedisError:
            return False

    def queue_lengths(self, queues: Iterable[str]) -> dict[str, int]:
        """Return the number of messages that wait in each queue."""
        return {queue: int(self.client.llen(queue)) for queue in queues}

    def count_sent(self, run: str, before: int) -> int:
        """Return how many messages were sent so far.

        Warns when they are fewer than `before`: the broker has forgotten everything.
        """
        text = str(self.client.get(SENT) or 0)
        if not (text.isdecimal() and len(text) < _DIGITS):
            _log.warning("Warning: %r of the broker is no number; it was removed.", SENT)
            self.client.delete(SENT)
            return 0
        sent = int(text)
        if sent < before:
            _log.warning(
                "Warning: the broker has forgotten what it knew of run %s (FLUSHALL, or killed "
                "without an append-only file). What is done is in storage; the rest is sent again.",
                run,
            )
        return sent

    def send(self, run: str, items: Sequence[Item], kind: Literal["train", "label"]) -> None:
        """Send one message for each item, to the tasks of a run of this kind.

        Raises:
            kombu.exceptions.KombuError: When the broker does not take them; some may be sent.
        """
        if not items:
            return
        # Counted first: a number that was never sent does no harm, one sent twice would.
        last = int(str(self.client.incrby(SENT, len(items))))
        with self.app.producer_or_acquire() as producer, producer.batch():
            for number, item in enumerate(items, last - len(items) + 1):
                self.app.send_task(
                    item.task(kind),
                    item.arguments(run),
                    task_id=f"{run}:{item.key}:{number}",
                    producer=producer,
                )
        self.queues.add(run, items)


def is_locked(client: redis.Redis, driver_lock: str) -> bool:
    """Whether a process holds this lock: one of poets always expires soon, or is gone by now."""
    left_ms = int(str(client.pttl(driver_lock)))
    return left_ms != _NEVER and left_ms <= _LEASE_S * 1000


class DriverLock:
    """Held by the one process that drives a run; expires 15 s after it was last renewed."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        self._client, self._key = client, Keys(run).driver_lock
        self._lock = Lock(client, self._key, timeout=_LEASE_S, blocking=False)
        self._renewed = time.monotonic()

    def take(self) -> bool:
        """Take or renew the lock; return False while another process holds it.

        Raises:
            redis.RedisError: When the broker does not answer.
        """
        with contextlib.suppress(LockError):  # not held yet, or lost
            return bool(self._lock.reacquire())
        if self._lock.acquire():
            return True
        if not is_locked(self._client, self._key) and self._client.delete(self._key):
            _log.warning("Warning: %r was no lock of poets; it was removed.", self._key)
            return bool(self._lock.acquire())
        return False

    def renew(self) -> None:
        """Keep the lock during long work. Should it be lost, storage decides."""
        now = time.monotonic()
        if now - self._renewed > _RENEW_S:
            self._renewed = now
            with contextlib.suppress(LockError, redis.RedisError):
                self._lock.reacquire()

    def is_of_another(self) -> bool:
        """Whether another process drives the run."""
        try:
            return not self._lock.owned() and bool(self._client.exists(self._key))
        except redis.RedisError:
            return False

    def give_back(self) -> None:
        """Let the next process drive."""
        # Lost, or the broker is gone: then the lock expires.
        with contextlib.suppress(LockError, redis.RedisError):
            self._lock.release()


def describe_wait(error: Exception) -> str:
    """Return what to show while the broker does not do what it was asked."""
    if isinstance(error, redis.OutOfMemoryError):
        return "waiting for the broker, which is full (give it more maxmemory)"
    return f"waiting for the broker ({type(error).__name__})"


def open_broker(settings: Settings, shared_for_s: float = 0.0) -> Broker:
    """Connect to the broker of the settings.

    Args:
        shared_for_s: See `Queues`; for threads that use one broker.

    Raises:
        BrokerError: When it is unreachable, or set up in a way that loses work.
    """
    from workers.app import make_app

    url = settings.require_broker()
    with broker_errors(settings):
        client = connect(url)
        check_broker(url, client)
        remove_other_types(client, SHARED_TYPES)
    return Broker(client, make_app(settings), Queues(client, shared_for_s))


@contextlib.contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Turn what is raised by a broker that does not answer, or a wrong URL, into a BrokerError."""
    try:
        yield
    except redis.RedisError as error:
        raise BrokerError(
            f"The broker {settings.shown_broker} does not answer: "
            f"{str(error).rstrip('.')}. {_what_to_do(error)}"
        ) from error
    except (ValueError, TypeError) as error:  # TypeError: an option in the URL that is none
        raise BrokerError(
            f"The broker URL {settings.shown_broker!r} is not understood: {error}."
        ) from error


def _what_to_do(error: redis.RedisError) -> str:
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        return (
            "Correct its certificate, or the name in POETS_BROKER_URL, or name your own "
            "authority there with ssl_ca_certs=FILE; nothing is sent to a stranger."
        )
    return "Start it, or correct POETS_BROKER_URL; without one, poets starts its own."


def check_broker(url: str, client: redis.Redis) -> None:
    """Refuse a server that is too old, evicts keys, or is a cluster.

    Raises:
        BrokerError: With what to change.
    """
    facts: dict[str, Any] = client.info()
    version = str(facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < _MINIMUM_VERSION:
        raise BrokerError(f"The broker is Redis {version}; poets needs 6.2 or newer, or Valkey.")
    if facts.get("redis_mode") == "cluster" or facts.get("cluster_enabled"):
        raise BrokerError("The broker is a Redis Cluster, which Celery does not support.")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise BrokerError(
            f"The broker evicts keys ({policy}) and would lose work. Set maxmemory-policy "
            "to noeviction."
        )
    parts = urlsplit(url)
    local = parts.hostname in (None, "localhost", "127.0.0.1", "::1")
    if not local and not parts.password:
        raise BrokerError(
            f"The broker at {parts.hostname} has no password: anybody who reaches it could "
            "send tasks. Set one, and put it into POETS_BROKER_URL."
        )
