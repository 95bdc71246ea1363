"""What the orchestrator asks of a broker, and which brokers it refuses."""

import json
from pathlib import Path

import pytest
import redis

from orchestrator.driving.broker import check_broker, describe_wait, open_broker
from workers.errors import BrokerError
from workers.items import CONVERT, Item
from workers.leases import connect
from workers.settings import Settings, load_settings

FINE = {"redis_version": "7.2.4", "redis_mode": "standalone", "maxmemory_policy": "noeviction"}


class Server:
    """Stands for a server somewhere in the network."""

    def __init__(self, **facts):
        self.facts = FINE | facts

    def info(self):
        return self.facts


@pytest.mark.parametrize(("url", "facts", "message"), [
    ("redis://localhost", {"redis_version": "5.0.14"}, "needs 6.2 or newer"),
    ("redis://localhost", {"redis_mode": "cluster"}, "Cluster"),
    ("redis://localhost", {"maxmemory_policy": "allkeys-lru"}, "noeviction"),
    ("redis://broker.example:6379/0", {}, "no password"),
])  # fmt: skip
def test_a_broker_that_would_lose_work_or_is_open_to_all_is_refused(url, facts, message):
    with pytest.raises(BrokerError, match=message):
        check_broker(url, Server(**facts))


@pytest.mark.parametrize(
    "url",
    ["redis://localhost", "rediss://:secret@broker.example", "redis+socket:///x?virtual_host=0"],
)
def test_a_sound_broker_is_accepted(url):
    check_broker(url, Server())


def test_what_is_sent_waits_in_its_queue_under_its_name(broker_url):
    broker = open_broker(load_settings())

    broker.send("spring:1", [CONVERT, Item.of_batch(0), Item.of_batch(1)], "train")
    broker.send("autumn", [Item.of_batch(7)], "label")

    traffic = broker.queues.look()
    assert traffic.of("spring:1") == {CONVERT, Item.of_batch(0), Item.of_batch(1)}
    assert traffic.of("autumn") == {Item.of_batch(7)}
    assert (traffic.rivals("spring:1"), traffic.rivals("winter")) == (1, 2)
    assert broker.queue_lengths(("bottleneck", "train", "infer")) == {
        "bottleneck": 2,
        "train": 1,
        "infer": 1,
    }


def test_a_message_holds_run_and_batch_and_little_else(broker_url):
    broker = open_broker(load_settings())
    broker.send("spring", [Item.of_batch(3)], "train")

    message = connect(broker_url).lindex("bottleneck", 0)

    assert len(message) < 1500
    assert json.loads(message)["headers"]["argsrepr"] == "('spring', 3)"


def test_every_message_has_an_id_of_its_own(broker_url):
    broker = open_broker(load_settings())
    for _ in range(2):
        broker.send("spring", [Item.of_batch(number) for number in range(3)], "train")
    broker.send("spring", [], "train")

    messages = connect(broker_url).lrange("bottleneck", 0, -1)

    ids = {json.loads(message)["headers"]["id"] for message in messages}
    assert {id.rsplit(":", 1)[1] for id in ids} == set("123456")
    assert connect(broker_url).get("poets:sent") == "6"


def test_messages_of_others_are_not_ours(broker_url):
    connect(broker_url).rpush("infer", "no JSON", json.dumps({"headers": {}}), json.dumps([1]))

    assert open_broker(load_settings()).queues.look().of("run") == frozenset()


def test_a_broker_that_does_not_answer_is_one_sentence_without_the_password(tmp_path):
    settings = Settings(tmp_path, "redis://:secret@127.0.0.1:1/0")

    with pytest.raises(BrokerError, match="does not answer") as raised:
        open_broker(settings)
    assert "secret" not in str(raised.value)


def test_a_broker_url_that_is_none_is_said(tmp_path):
    with pytest.raises(BrokerError, match="not understood"):
        open_broker(Settings(tmp_path, "amqp://localhost"))
    with pytest.raises(BrokerError, match="not understood"):
        open_broker(Settings(tmp_path, "redis://localhost?visibility_timeout=5"))
    with pytest.raises(BrokerError, match="There is no broker"):
        open_broker(Settings(tmp_path))


def test_a_full_broker_is_waited_for_by_name(broker_url):
    client = connect(broker_url)
    client.config_set("maxmemory", 1)

    try:
        with pytest.raises(redis.RedisError) as refused:
            open_broker(load_settings()).send("spring", ["3"], "train")
    finally:
        client.config_set("maxmemory", 0)

    assert "broker, which is full" in describe_wait(refused.value)
    assert describe_wait(redis.ConnectionError()) == "waiting for the broker (ConnectionError)"


def test_passwords_are_hidden():
    shown = [
        Settings(Path("/s"), f"redis://{user}host/0").shown_broker for user in (":secret@", "")
    ]

    assert shown == ["redis://:***@host/0", "redis://host/0"]
