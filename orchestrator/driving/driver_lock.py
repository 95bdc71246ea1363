"""Who drives a run: a lock in Redis, timed by Redis' clock."""

import contextlib
import time

import redis
from redis.exceptions import LockError
from redis.lock import Lock

from workers.leases import Keys

_LEASE_S = 15
_RENEW_S = 1.0


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
        return bool(self._lock.acquire())

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
