"""Work in this process what Celery's workers would."""

import _thread
import base64
import contextlib
import json
import threading
from collections.abc import Iterator

from workers import tasks
from workers.leases import connect
from workers.settings import QUEUES


@contextlib.contextmanager
def work_in_thread(broker_url: str) -> Iterator[list[tuple[str, list[str | int]]]]:
    """Do what waits in the queues, one message after the other, until the block ends.

    Yields the messages taken so far: the name of the task and its arguments.
    """
    client, stop, taken = connect(broker_url), threading.Event(), []
    known = (tasks.compute_batch, tasks.label_batch, tasks.train_head)
    by_name = {task.name: task for task in known}

    def work() -> None:
        messages = [message for queue in QUEUES if (message := client.rpop(queue))]
        for message in messages:
            name, arguments = _parse(json.loads(message))
            taken.append((name, arguments))
            by_name[name](*arguments)
        if not messages:
            stop.wait(0.01)

    def loop() -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException:
            # Without a worker, whoever drives the run would wait forever.
            _thread.interrupt_main()
            raise

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
