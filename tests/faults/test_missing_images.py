"""Photographs that some workers cannot open, or none: no worker's blindness becomes a result."""

import shlex
import subprocess

import pytest

from tests.builders.programs import wait_until
from tests.builders.traps import IMPATIENT, lay
from tests.faults.undisturbed import JOB
from workers.presence import ONLY_WORKER

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def without(folder, tmp_path):
    """Return the words that start a program for which a folder is empty, as without its mount."""
    empty = tmp_path / "empty"
    empty.mkdir()
    mount = f"mount --bind {shlex.quote(str(empty))} {shlex.quote(str(folder))}"
    within = ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    if subprocess.run([*within, "true"], capture_output=True).returncode:
        pytest.skip("another view of the file system is not allowed here (it needs root)")
    return within


def test_a_folder_that_is_not_mounted_stops_a_run_and_costs_nothing_where_another_has_it(
    rack, undisturbed, tmp_path
):
    within = without(undisturbed.photos / "red", tmp_path)
    bad = rack.worker(within=within, **{ONLY_WORKER: "1"})
    impatient = lay(tmp_path / "impatient", IMPATIENT)
    job = ("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")

    said = rack.poets(*job, **impatient)
    said.end(exit_code=1)

    assert "40 of 80 images (50.0%) cannot be read as planned" in said.said()
    assert "among them all images of 'red' (40): cannot be opened: No such file" in said.said()
    assert "`poets resume spring` computes only these" in said.said()

    good = rack.worker()
    wait_until(lambda: any(rack.client.scan_iter(f"poets:worker:bottleneck:*:{good.pid}")))
    result = rack.poets("resume", "spring", "--json", **impatient).result()

    assert bad.process.poll() is None
    assert (result["computed"], result["quarantined"], result["lost"]) == (80, 0, 0)
    undisturbed.compare(tmp_path / "storage", "spring")
