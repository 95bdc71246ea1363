"""What waits in the queues, read once for all runs that a process drives."""

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import redis

from workers.errors import RunError
from workers.items import Item
from workers.leases import MESSAGE_BYTES, UNACKED
from workers.settings import QUEUES


@dataclass(frozen=True)
class Traffic:
    """What there was of all runs at one moment.

    Attributes:
        waiting: Run -> its items in the queues.
        under_way: How many messages workers have taken and not yet acknowledged.
    """

    waiting: Mapping[str, frozenset[Item]]
    under_way: int

    def of(self, run: str) -> frozenset[Item]:
        return self.waiting.get(run, frozenset())

    def rivals(self, run: str) -> int:
        """Return how many other runs have batches in the queues."""
        others = (items for name, items in self.waiting.items() if name != run)
        return sum(any(item.batch is not None for item in items) for items in others)


@dataclass
class Queues:
    """Reads the queues; threads that ask within `shared_for_s` get one and the same answer.

    34 jobs that each read all that 34 jobs had queued cost 75 MB/s.

    Attributes:
        users: How many runs are being driven with it.
    """

    client: redis.Redis
    shared_for_s: float = 0.0
    users: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _latest: Traffic | None = field(default=None, init=False)
    _read_at: float = field(default=0.0, init=False)

    def look(self) -> Traffic:
        """Return what the queues hold, at most `shared_for_s` ago.

        Raises:
            RedisError: When the broker does not answer.
        """
        with self._lock:
            if self._latest is None or time.monotonic() - self._read_at >= self.shared_for_s:
                self._latest, self._read_at = _read(self.client), time.monotonic()
            return self._latest

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Count the block among the users."""
        with self._lock:
            self.users += 1
        try:
            yield
        finally:
            with self._lock:
                self.users -= 1

    def add(self, run: str, items: Iterable[Item]) -> None:
        """Note what this process has sent, for those who get an answer from before."""
        with self._lock:
            if self._latest is not None:
                waiting = {**self._latest.waiting, run: self._latest.of(run).union(items)}
                self._latest = Traffic(waiting, self._latest.under_way)


def _read(client: redis.Redis) -> Traffic:
    with client.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.lrange(queue, 0, -1)
        pipe.hlen(UNACKED)
        *queues, under_way = pipe.execute()
    keys: dict[str, set[str]] = {}
    for messages in queues:
        for message in messages:
            run, key = _address(str(message))
            keys.setdefault(run, set()).add(key)
    waiting = {run: frozenset(parse_known(found)) for run, found in keys.items()}
    return Traffic(waiting, int(under_way))


def parse_known(keys: Iterable[str]) -> Iterator[Item]:
    """Yield the items that keys name; whoever can write to Redis may have left others."""
    for key in keys:
        with contextlib.suppress(RunError):
            yield Item.parse(key)


def _address(message: str) -> tuple[str, str]:
    """Return (run, key of the item) of a queued message, which its task id names."""
    if len(message) > MESSAGE_BYTES:
        return "", ""
    try:
        task_id = str(json.loads(message)["headers"]["id"])
        run, key, _ = task_id.rsplit(":", 2)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""  # not ours; the worker refuses it
    return run, key
