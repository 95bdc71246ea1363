"""Whose turn it is to drive a run: a lock in Redis, by Redis' own clock."""

import contextlib
import time

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from workers.leases import Keys

_LEASE_S = 15
_RENEW_S = 1.0


class DriverLock:
    """Held by the one process that drives a run; ends by itself 15 s after its last renewal."""

    def __init__(self, client: redis.Redis, run: str) -> None:
        self._client, self._key = client, Keys(run).reconciler
        self._lock = Lock(client, self._key, timeout=_LEASE_S, blocking=False)
        self._renewed = time.monotonic()

    def take(self) -> bool:
        """Take or renew the turn; return False while another process has it.

        Raises:
            redis.RedisError: When the broker does not answer.
        """
        try:
            if self._lock.owned():
                return bool(self._lock.reacquire())
        except LockError:
            self._lock.local.token = None
        return bool(self._lock.acquire(blocking=False))

    def renew(self) -> None:
        """Keep the turn during work that takes long; if it is lost, storage decides."""
        now = time.monotonic()
        if now - self._renewed > _RENEW_S:
            self._renewed = now
            with contextlib.suppress(LockError, redis.RedisError):
                self._lock.reacquire()

    def is_of_another(self) -> bool:
        """Return whether another process drives the run."""
        try:
            return not self._lock.owned() and bool(self._client.exists(self._key))
        except redis.RedisError:
            return False

    def give_back(self) -> None:
        """Let the next one drive."""
        # Not ours any more, or gone with the broker: it ends by itself.
        with contextlib.suppress(LockError, redis.RedisError):
            self._lock.release()
