"""Work in this process what Celery's workers would."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator

from workers import tasks
from workers.app import QUEUES
from workers.leases import connect


@contextlib.contextmanager
def work_in_thread(broker_url: str) -> Iterator[list[tuple[str, list[str | int]]]]:
    """Do what waits in the queues, one message after the other, until the block ends.

    Yields the messages taken so far: the name of the task and its arguments.
    """
    client, stop, taken = connect(broker_url), threading.Event(), []

    def loop() -> None:
        while not stop.is_set():
            messages = [m for queue in QUEUES if (m := client.rpop(queue))]
            for message in messages:
                name, arguments = _parse(json.loads(message))
                taken.append((name, arguments))
                tasks.app.tasks[name](*arguments)
            if not messages:
                stop.wait(0.01)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()


def _parse(message: dict) -> tuple[str, list[str | int]]:
    arguments, *_ = json.loads(base64.b64decode(message["body"]))
    return message["headers"]["task"], arguments
