"""Messages as they come from the broker: what is none of poets' own is dropped before decoding.

kombu unpacks and decodes whatever it finds, and Celery ends over what cannot be decoded.
"""

# mypy: allow-untyped-calls
import json
import logging
import math
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

from workers.leases import MESSAGE_BYTES

# Ours have less than 1 KB: a run and a batch.
BODY_BYTES = 64 * 1024
_NOTHING = b"null"
# Celery ends, with the message still to be handled, where it expects these and finds others.
_HEADERS: dict[str, Any] = {
    **dict.fromkeys(("eta", "expires", "shadow", "group", "root_id", "parent_id"), str | None),
    "retries": int | None,
    "timelimit": list | None,
    "stamps": dict | None,
    "stamped_headers": list | None,
}
_log = logging.getLogger("poets.messages")


class RefusedMessageError(Exception):
    """What came is no message that poets or Celery could have sent."""


def use_guarded_transport() -> None:
    """Let every connection to Redis of this process check what it takes."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:GuardedTransport"


class GuardedMessage(virtual.Message):  # type: ignore[misc] # kombu has no types
    """A message whose parts are of the right kinds, small, and not compressed."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        """Check before kombu decodes.

        Raises:
            RefusedMessageError: Says why.
        """
        reason = _why_refused(payload)
        if reason:
            raise RefusedMessageError(reason)
        try:
            super().__init__(payload, channel=channel, **kwargs)
        except ValueError as error:
            raise RefusedMessageError(f"its body is not base64: {error}") from error
        if self.content_type == "application/json" and not _has_good_body(self):
            raise RefusedMessageError("its body is not that of a task")


def _why_refused(payload: Any) -> str:
    """Return why a message is not taken, "" when it is."""
    if not isinstance(payload, dict):
        return "it is no JSON object, or larger than a message may be"
    properties, headers = payload.get("properties"), payload.get("headers", {})
    if not isinstance(properties, dict) or not isinstance(headers, dict):
        return "it has no properties, or headers that are none"
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict):
        return "it does not say how it was sent"
    if headers.get("compression"):
        return "it is compressed"
    texts = [payload.get(name) for name in ("body", "content-type", "content-encoding")]
    texts += [properties.get("delivery_tag"), delivery.get("exchange"), delivery.get("routing_key")]
    # Messages of Celery's remote control have no task.
    texts += [headers[name] for name in ("task", "id") if name in headers]
    if "task" in headers and not _has_good_headers(headers):
        return "one of its headers is of another kind"
    if (
        not all(isinstance(text, str) for text in texts)
        or properties.get("body_encoding") != "base64"
    ):
        return "a part of it is missing or of another kind"
    if len(payload["body"]) > 4 * math.ceil(BODY_BYTES / 3):
        return f"its body is larger than {BODY_BYTES} bytes"
    return ""


def _has_good_headers(headers: dict[str, Any]) -> bool:
    limits = headers.get("timelimit") or [None, None]
    return (
        all(isinstance(headers.get(name), kinds) for name, kinds in _HEADERS.items())
        and len(limits) == 2
        and all(isinstance(limit, int | float | None) for limit in limits)
    )


def _has_good_body(message: GuardedMessage) -> bool:
    found = _load(message.body)
    if "task" not in message.headers:
        # Remote control and events, also a list of them. Celery's first protocol named the
        # task in the body; nobody speaks it here.
        return not (isinstance(found, dict) and "task" in found)
    kinds = (list, dict, dict | None)
    is_whole = isinstance(found, list) and len(found) == len(kinds)
    return is_whole and all(map(isinstance, found, kinds))


def _load(content: bytes | str | None) -> Any:
    """Return what a small JSON text holds, None when it is no such text."""
    if content is None or len(content) > MESSAGE_BYTES:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


class _GuardedQoS(redis.QoS):  # type: ignore[misc]
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        with self.channel.conn_or_acquire(client) as connection:
            content = connection.hget(self.unacked_key, tag)
            found = _load(content)
            is_message = isinstance(found, list) and len(found) == 3 and isinstance(found[0], dict)
            if content is None or is_message:
                super().restore_by_tag(tag, connection, leftmost)
            else:
                _log.warning("what %r names among the messages under way is none; removed", tag)
                self._remove_from_indices(tag).execute()


class _GuardedChannel(redis.Channel):  # type: ignore[misc]
    Message = GuardedMessage
    QoS = _GuardedQoS

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        if asynchronous:
            # kombu decodes what BRPOP gives, whatever it is.
            client.set_response_callback("BRPOP", _only_messages)
        return client

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except RefusedMessageError as error:
            _log.warning("a message was refused: %s", error)
            return True

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        try:
            return bool(super()._deliver_fanout_message(message, exchange))
        except RefusedMessageError as error:
            _log.warning("a message for all workers was refused: %s", error)
            return True


def _only_messages(answer: Any, **_: Any) -> Any:
    if not answer:
        return None
    queue, content = answer
    return queue, content if isinstance(_load(content), dict) else _NOTHING


class GuardedTransport(redis.Transport):  # type: ignore[misc]
    """Redis as kombu speaks to it, with every message checked first."""

    Channel = _GuardedChannel
