"""Messages of anybody who can write to the broker."""

import base64
import json
from collections.abc import Mapping
from typing import Any


def envelope(
    body: bytes,
    headers: Mapping[str, Any],
    content_type: str = "application/json",
    queue: str = "bottleneck",
) -> str:
    """Return a message as kombu puts it into a list of Redis."""
    properties = {
        "correlation_id": "1",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "a tag",
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8" if "json" in content_type else "binary",
            "content-type": content_type,
            "headers": headers,
            "properties": properties,
        }
    )
