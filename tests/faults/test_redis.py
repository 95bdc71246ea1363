"""Redis that is killed or emptied in the middle of a run."""

import json
from pathlib import Path

import pytest

from orchestrator.embedded.stack import find_stack
from tests.builders.programs import kill, start
from tests.faults.rack import FORGETFUL, children_of, recovery
from tests.faults.under_way import shards, submit, until_busy, until_more
from tests.faults.undisturbed import JOB
from workers.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def test_a_server_that_is_killed_and_has_its_file_goes_on(rack, undisturbed, tmp_path, slow):
    """Row 10. The workers connect again and take what waits."""
    rack.worker(**slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)
    sent = int(rack.client.get("poets:sent"))

    rack.kill_server()
    before = shards(tmp_path)
    rack.start_server()
    assert int(rack.client.get("poets:sent")) == sent
    with recovery("a server that was killed, with AOF"):
        # One that is under way needs no server to end.
        until_more(tmp_path, before + 1)
    result = driver.result()

    assert (result["computed"], result["lost"]) == (80, 0)
    assert "has forgotten" not in driver.said()
    undisturbed.compare(tmp_path / "storage", "spring")


def test_the_embedded_server_is_started_again(undisturbed, tmp_path, slow):
    """Row 10, with the supervisor, which keeps the append-only file."""
    job = ("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")
    process = start(*job, **slow)
    until_busy(tmp_path)

    with recovery("the embedded server killed"):
        [server] = filter(is_server, children_of(find_stack(load_settings()).supervisor()))
        kill(server)
        until_more(tmp_path, shards(tmp_path) + 2)
    out, err = process.communicate()

    assert json.loads(out)["lost"] == 0
    assert "has forgotten" not in err
    undisturbed.compare(tmp_path / "storage", "spring")


def is_server(pid):
    return b"unixsocket" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("how", ["SIGKILL", "FLUSHALL"])
def test_a_server_that_forgets_everything_is_filled_again_from_storage(
    rack, undisturbed, tmp_path, slow, how
):
    """Row 11. With a warning."""
    rack.kill_server()
    rack.options = FORGETFUL
    rack.start_server()
    rack.worker(**slow)
    driver = submit(rack, undisturbed.photos)
    until_busy(tmp_path)

    before = shards(tmp_path)
    with recovery(f"a server that lost all by {how}"):
        if how == "FLUSHALL":
            rack.client.flushall()
        else:
            rack.kill_server()
            rack.start_server()
        until_more(tmp_path, before + 1)
    result = driver.result()

    assert (result["computed"], result["lost"]) == (80, 0)
    assert "the broker has forgotten what it knew of run spring" in driver.said()
    undisturbed.compare(tmp_path / "storage", "spring")
