"""What is taken for a message, and what is refused before anything of it is decoded."""

import gzip
import json

import pytest
from kombu.connection import Connection

from tests.builders.envelopes import envelope
from workers.messages import BODY_BYTES, RefusedMessageError, use_guarded_transport

HEADERS = {"lang": "py", "task": "poets.compute_batch", "id": "spring:0:1"}
BODY = json.dumps([["spring", 0], {}, {}]).encode()
GOOD = json.loads(envelope(BODY, HEADERS))


@pytest.fixture
def channel():
    """The class of what takes messages; nothing connects here."""
    use_guarded_transport()
    return Connection("redis://nowhere").get_transport_cls().Channel


def take(channel, payload):
    """Return the message that kombu would make, with a channel that has no server."""
    taker = channel.__new__(channel)
    taker._closed = taker.closed = True
    return channel.Message(payload, channel=taker)


@pytest.mark.parametrize("scheme", ["redis://h", "rediss://h", "redis+socket:///s"])
def test_every_connection_to_redis_is_guarded(scheme):
    use_guarded_transport()

    assert Connection(scheme).get_transport_cls().__name__ == "GuardedTransport"


def test_a_message_of_ours_is_taken(channel):
    assert take(channel, GOOD).body == BODY


def test_remote_control_and_events_are_taken(channel):
    """Celery gives those another kind of time; `poets status` asks workers with them."""
    for content in ({"method": "ping", "arguments": {}}, [{"type": "task-received"}]):
        body = json.dumps(content).encode()

        taken = take(channel, json.loads(envelope(body, {"clock": 1, "expires": 1.5e9})))

        assert taken.body == body


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


def with_properties(**values):
    return GOOD | {"properties": GOOD["properties"] | values}


def with_headers(**values):
    return GOOD | {"headers": HEADERS | values}


@pytest.mark.parametrize("payload", [
    None, [], "text", {}, GOOD | {"headers": []}, GOOD | {"properties": None},
    without("body"), without("content-type"), GOOD | {"body": {}}, GOOD | {"content-encoding": 1},
    with_headers(task=["x"]), with_headers(id={}), with_properties(delivery_tag=1),
    with_properties(delivery_info={}), with_properties(delivery_info=None),
    with_properties(body_encoding="zlib"), with_properties(body_encoding=None),
    GOOD | {"body": "Zm9"}, with_headers(eta=5), with_headers(timelimit=5),
    with_headers(retries="x"), with_headers(timelimit=[1]), with_headers(timelimit=["x", None]),
    with_headers(stamps=[]),
])  # fmt: skip
def test_what_is_no_message_is_refused(channel, payload):
    with pytest.raises(RefusedMessageError):
        take(channel, payload)


@pytest.mark.parametrize("body", [
    "", "no JSON", "[]", "{}", "5", "null", "[[], {}]", "[{}, {}, {}]", "[[], [], {}]",
    "[[], {}, 5]", "[" * 20_000,
])  # fmt: skip
def test_a_body_that_is_not_that_of_a_task_is_refused(channel, body):
    """Celery ended over it, put it back into the queue, and took it again."""
    with pytest.raises(RefusedMessageError):
        take(channel, json.loads(envelope(body.encode(), HEADERS)))


def test_a_task_that_is_named_in_the_body_is_refused(channel):
    body = json.dumps({"task": "poets.compute_batch", "id": "x", "args": 5}).encode()

    with pytest.raises(RefusedMessageError, match="not that of a task"):
        take(channel, json.loads(envelope(body, {})))


@pytest.mark.parametrize("how", ["application/x-gzip", "gzip", "zlib", "bz2", "unknown"])
def test_nothing_is_unpacked(channel, how):
    packed = json.loads(envelope(gzip.compress(BODY), HEADERS | {"compression": how}))

    with pytest.raises(RefusedMessageError, match="it is compressed"):
        take(channel, packed)


def test_a_body_has_a_limit(channel):
    body = BODY + b" " * (BODY_BYTES - len(BODY))

    assert len(take(channel, json.loads(envelope(body, HEADERS))).body) == BODY_BYTES
    with pytest.raises(RefusedMessageError, match=f"larger than {BODY_BYTES} bytes"):
        take(channel, json.loads(envelope(body + b"   ", HEADERS)))
