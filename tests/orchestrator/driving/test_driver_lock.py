"""Which process drives a run: one at a time, and never for longer than it lives."""

import pytest
import redis

from orchestrator.driving.broker import DriverLock
from workers.leases import Keys, connect

KEY = Keys("spring").driver_lock


@pytest.fixture
def client(broker_url):
    return connect(broker_url)


@pytest.fixture
def locks(client):
    """The locks of two processes."""
    return DriverLock(client, "spring"), DriverLock(client, "spring")


def test_one_process_drives_at_a_time(client, locks):
    first, second = locks

    assert first.take() and first.take()
    assert not second.take()
    assert second.is_of_another() and not first.is_of_another()
    assert 0 < client.pttl(KEY) <= 15_000


def test_the_next_process_drives_when_the_lock_is_given_back(locks):
    first, second = locks
    first.take()

    first.give_back()

    assert second.take()
    assert not first.take()


def test_taking_the_lock_again_renews_it(client, locks):
    locks[0].take()
    client.pexpire(KEY, 5_000)

    locks[0].take()

    assert client.pttl(KEY) > 10_000


def test_a_lock_that_was_forgotten_is_taken_again(client, locks):
    first, second = locks
    first.take()
    client.flushall()

    assert first.take()
    assert not second.take()


def test_a_lock_that_was_lost_to_another_stays_with_it(client, locks):
    first, second = locks
    first.take()
    client.delete(KEY)
    second.take()

    assert not first.take()
    assert first.is_of_another()
    first.renew()
    first.give_back()
    assert second.take() and not first.take()


def test_without_a_broker_only_taking_the_lock_fails(tmp_path):
    lock = DriverLock(connect(f"redis+socket://{tmp_path}/nobody?virtual_host=0"), "spring")

    with pytest.raises(redis.ConnectionError):
        lock.take()
    assert not lock.is_of_another()
    lock.renew()
    lock.give_back()
