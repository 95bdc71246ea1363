"""`poets tensorboard`, looked at as a browser does."""

import json
import signal
import socket
import urllib.error
import urllib.request

import pytest

from tests.builders.programs import start, wait_until
from tests.builders.runs import trained
from tests.builders.servers import free_port
from workers.storage.plan import TrainingOptions

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tensorboard_shows_a_run(photos, ready_storage, number):
    options = TrainingOptions(solver="sgd", steps=200)
    trained(ready_storage, photos, name="spring", options=options)
    port = free_port()
    process = start("tensorboard", "spring", "--port", port)

    def ask(page, body=None):
        """Return what a page answers; None while nobody does."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/data/plugin/{page}",
            body,
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, process.communicate()
            return None

    try:
        scalars = wait_until(lambda: (found := ask("scalars/tags")) and len(found) == 3 and found)
        assert {"accuracy", "cross_entropy"} <= scalars["spring/train"].keys()
        assert {"accuracy", "cross_entropy"} == scalars["spring/validation"].keys()
        assert "test_accuracy" in scalars["spring"]
        points = ask("scalars/scalars?run=spring/train&tag=accuracy")
        assert [point[1] for point in points] == [*range(0, 200, 10), 199]
        assert "activations" in ask("histograms/tags")["spring/validation"]
        assert ask("projector/runs") == ["spring"]
        (embedding,) = ask("projector/info?run=spring")["embeddings"]
        assert embedding["tensorShape"] == [80, 256]
        asked = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "sliceSize": 9}
        (group,) = ask("hparams/session_groups", json.dumps(asked).encode())["sessionGroups"]
        assert [session["name"] for session in group["sessions"]] == ["spring"]
        assert group["hparams"]["steps"] == 200
    finally:
        process.send_signal(number)
        out, err = process.communicate()
    assert out == ""
    assert "Traceback" not in err
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
