"""Leases: hints in Redis that say who works, how often it was tried, and who may commit."""

import time
from types import SimpleNamespace

import pytest
import redis

from tests.builders.programs import wait_until
from workers import leases
from workers.app import HARD_LIMIT_S, make_app
from workers.errors import ImageError, LeaseLostError
from workers.items import Item
from workers.leases import (
    Keys,
    Lease,
    connect,
    forget_run,
    is_idle,
    report_done,
    report_failed_attempt,
)
from workers.settings import load_settings

KEYS = Keys("run")


@pytest.fixture
def client(broker_url):
    return connect(broker_url)


@pytest.fixture
def no_broker(tmp_path):
    """A client whose server is not there."""
    return connect(f"redis+socket://{tmp_path}/nobody?virtual_host=0")


def test_an_item_is_leased_while_it_is_worked_on_and_no_longer(client):
    with Lease(client, "run", Item.parse("7")):
        assert 0 < client.pttl(KEYS.lease("7")) <= leases.LEASE_S * 1000

    assert not client.exists(KEYS.lease("7"))


def test_a_broker_is_idle_when_nothing_is_leased_and_everything_acknowledged(client, no_broker):
    assert is_idle(client)

    with Lease(client, "run", Item.parse("train")):
        assert not is_idle(client)

    app = make_app(load_settings())
    with app.connection_for_write() as connection, connection.SimpleQueue("bottleneck") as queue:
        queue.put({})
        message = queue.get()
        assert not is_idle(client)
        message.ack()

    assert is_idle(client)
    with pytest.raises(redis.ConnectionError):
        is_idle(no_broker)


def test_a_lease_ends_by_itself_when_nobody_renews_it(client, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_S", 0.05)

    with Lease(client, "run", Item.parse("7")):
        wait_until(lambda: not client.exists(KEYS.lease("7")))


def test_a_lease_is_renewed_while_the_work_goes_on(client, monkeypatch):
    monkeypatch.setattr(leases, "_RENEW_S", 0.02)

    with Lease(client, "run", Item.parse("7")):
        for _ in range(3):
            client.set(KEYS.lease("7"), "nearly over", ex=100)
            wait_until(lambda: client.get(KEYS.lease("7")) == "0")


def test_a_lease_is_not_renewed_for_work_that_hangs(client, monkeypatch):
    looks = []

    def monotonic():
        looks.append(time.monotonic() + leases.STALL_S)
        return looks[-1]

    monkeypatch.setattr(leases, "_RENEW_S", 0.01)

    with Lease(client, "run", Item.parse("7")) as lease:
        monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=monotonic))
        wait_until(lambda: len(looks) > 1)
        client.set(KEYS.lease("7"), "nearly over", ex=100)
        seen = len(looks)
        wait_until(lambda: len(looks) > seen + 2)
        assert client.get(KEYS.lease("7")) == "nearly over"

        lease.heartbeat()
        wait_until(lambda: client.get(KEYS.lease("7")) == "0")


def test_the_first_start_is_the_first_attempt(client):
    with Lease(client, "run", Item.parse("7")) as lease:
        assert lease.attempt == 1
        assert client.hget(KEYS.starts, "7") == "1"


def test_attempts_go_on_counting_after_a_holder_that_died(client):
    client.hset(KEYS.starts, "7", 2)

    with Lease(client, "run", Item.parse("7")) as lease:
        assert lease.attempt == 3


@pytest.mark.parametrize("item", ["7", "train", "convert"])
def test_work_that_ends_well_resets_the_count(client, item):
    client.hset(KEYS.starts, mapping={item: 2, "8": 1})

    with Lease(client, "run", Item.parse(item)):
        pass

    assert client.hgetall(KEYS.starts) == {"8": "1"}


def test_an_error_of_ours_resets_the_count_and_is_passed_on(client):
    with pytest.raises(ImageError), Lease(client, "run", Item.parse("7")):
        raise ImageError("explained")

    assert client.hgetall(KEYS.starts) == {}
    assert not client.exists(KEYS.lease("7"))


def test_a_failure_without_a_reason_goes_on_counting(client):
    for attempt in (1, 2, 3):
        with pytest.raises(ZeroDivisionError), Lease(client, "run", Item.parse("7")) as lease:
            assert lease.attempt == attempt
            raise ZeroDivisionError

    assert not client.exists(KEYS.lease("7"))


def test_runs_and_items_are_counted_apart(client):
    client.hset(KEYS.starts, "7", 5)

    with (
        Lease(client, "run", Item.parse("8")) as item,
        Lease(client, "other", Item.parse("7")) as run,
    ):
        assert (item.attempt, run.attempt) == (1, 1)
        assert (item.token, run.token) == (1, 1)


def test_a_fence_outlives_every_task_and_no_more(client):
    with Lease(client, "run", Item.parse("7")):
        pass

    assert HARD_LIMIT_S < client.ttl(KEYS.fence("7")) <= leases.FENCE_S


def test_a_run_that_has_ended_leaves_nothing_but_the_fence_of_its_trainer(client):
    batches = 2500
    for item in (*map(str, range(0, batches, 50)), "train", "convert"):
        client.set(KEYS.fence(item), 1, ex=leases.FENCE_S)
    client.rpush(KEYS.done, "[1, 0]")
    client.hset(KEYS.starts, "7", 1)
    client.hset(KEYS.failed_attempts, "7", "disk full")
    others = Keys("run-2").fence("7")
    client.set(others, 1)

    forget_run(client, "run", batches)

    assert set(client.scan_iter("poets:*")) == {KEYS.fence("train"), others}
    with Lease(client, "run", Item.parse("train")) as later:
        assert later.token == 2


def test_a_worker_of_an_earlier_version_is_respected_as_a_newer_holder(client):
    with Lease(client, "run", Item.parse("train")) as own:
        client.incr("poets:run:fence:train")

        with pytest.raises(LeaseLostError):
            own.check()


def test_a_holder_that_was_taken_over_may_not_commit(client):
    with Lease(client, "run", Item.parse("train")) as old:
        old.check()

        with Lease(client, "run", Item.parse("train")) as new:
            new.check()
            with pytest.raises(LeaseLostError, match="train of run run was taken over"):
                old.check()

        with pytest.raises(LeaseLostError):
            old.check()


def test_tokens_grow_from_holder_to_holder(client):
    tokens = []
    for _ in range(3):
        with Lease(client, "run", Item.parse("train")) as lease:
            tokens.append(lease.token)

    assert tokens == [1, 2, 3]


def test_a_broker_that_lost_everything_stops_nobody(client):
    with Lease(client, "run", Item.parse("train")) as lease:
        client.flushall()

        lease.check()


def test_no_hint_stays_for_ever(client):
    with Lease(client, "run", Item.parse("7")):
        report_done(client, "run", Item.parse("7"))
        report_failed_attempt(client, "run", Item.parse("8"), "storage full")

        keys = list(client.scan_iter())
        assert len(keys) == 5
        assert [key for key in keys if client.ttl(key) < 0] == []


def test_a_finished_batch_is_reported_with_its_failed_images(client):
    report_failed_attempt(client, "run", Item.parse("7"), "storage full")

    report_done(client, "run", Item.parse("7"), failed=3)
    report_done(client, "run", Item.parse("9"))

    assert client.lrange(KEYS.done, 0, -1) == ["[7, 3]", "[9, 0]"]
    assert client.hgetall(KEYS.failed_attempts) == {}


def test_only_batches_are_listed_as_done(client):
    report_failed_attempt(client, "run", Item.parse("train"), "storage full")

    report_done(client, "run", Item.parse("train"))

    assert list(client.scan_iter()) == []


def test_the_last_failed_attempt_of_an_item_is_kept(client):
    report_failed_attempt(client, "run", Item.parse("7"), "first")
    report_failed_attempt(client, "run", Item.parse("7"), "second")

    assert client.hgetall(KEYS.failed_attempts) == {"7": "second"}


def test_hints_that_are_lost_stop_no_work(no_broker, caplog):
    done = []

    with Lease(no_broker, "run", Item.parse("7")) as lease:
        lease.heartbeat()
        lease.check()
        done.append(lease.attempt)
    report_done(no_broker, "run", Item.parse("7"))
    report_failed_attempt(no_broker, "run", Item.parse("7"), "reason")

    assert done == [1]
    assert "storage decides" in caplog.text


def test_an_error_keeps_its_kind_when_the_broker_is_away(no_broker):
    with pytest.raises(ZeroDivisionError), Lease(no_broker, "run", Item.parse("7")):
        raise ZeroDivisionError


def test_a_holder_without_a_token_may_commit(client, monkeypatch):
    with Lease(client, "run", Item.parse("train")):
        pass
    pipeline = client.pipeline
    monkeypatch.setattr(client, "pipeline", lambda: _Away(client))

    with Lease(client, "run", Item.parse("train")) as lease:
        monkeypatch.setattr(client, "pipeline", pipeline)

        lease.check()


class _Away(redis.client.Pipeline):
    """A pipeline to a server that is just restarting."""

    def __init__(self, client):
        super().__init__(client.connection_pool, client.response_callbacks, True, None)

    def execute(self, raise_on_error=True):
        raise redis.ConnectionError("restarting")


def test_a_holder_that_was_taken_over_leaves_the_lease_of_the_new_one(client):
    old = Lease(client, "run", Item.parse("7"))
    old.__enter__()
    with Lease(client, "run", Item.parse("7")):
        old.__exit__(None, None, None)

        assert client.exists(KEYS.lease("7"))
        assert client.hget(KEYS.starts, "7")


@pytest.mark.parametrize(
    ("url", "path", "database"),
    [
        ("redis+socket:///run/a/s?virtual_host=0", "/run/a/s", 0),
        ("redis+socket:///run/a/s?virtual_host=3", "/run/a/s", 3),
        ("redis+socket:///run/a/s", "/run/a/s", 0),
    ],
)
def test_kombus_word_for_a_socket_is_understood(url, path, database):
    options = connect(url).connection_pool.connection_kwargs

    assert options["path"] == path
    assert int(options["db"]) == database


def test_other_addresses_are_passed_on():
    options = connect("redis://:secret@example.org:6380/2").connection_pool.connection_kwargs

    assert (options["host"], options["port"], options["db"]) == ("example.org", 6380, 2)
    assert options["password"] == "secret"
