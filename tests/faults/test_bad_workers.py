"""One worker of a rack cannot do the work: it leaves it to those that can."""

import pytest

from tests.builders.programs import wait_until
from tests.builders.traps import SET, lay, lay_trap
from tests.faults.undisturbed import JOB

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
# So that nothing is given up before the test has started the good worker.
PATIENT = SET.format(module="orchestrator.driving.reconcile", values={"_RETRY_WAIT_S": 10.0})
OTHER_VERSION = SET.format(module="workers.backbones.table", values={"PIXELS_VERSION": 99})
REFUSE = "from workers.errors import StorageError; raise StorageError('the disk is full')"


def badly_mounted(folder):
    place = "workers.bottlenecks.batches:complete_batch"
    return lay_trap(folder, place, REFUSE, once=False)


def of_another_version(folder):
    return lay(folder, OTHER_VERSION)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(badly_mounted, "the disk is full"), (of_another_version, "prepares images")],
)
def test_a_bad_worker_rests_and_a_good_one_finishes_the_run(
    rack, undisturbed, tmp_path, kind, reason
):
    bad = rack.worker(**kind(tmp_path / "bad"))
    patient = lay(tmp_path / "patient", PATIENT)
    job = ("submit-dataset", undisturbed.photos, *JOB, "--name", "spring", "--json")
    driver = rack.poets(*job, **patient)

    # It rests, tries again, and rests for longer.
    wait_until(lambda: "no work is taken for 10 s" in bad.said())
    wait_until(lambda: reason in str(rack.poets("status", "--json").result()["worker_states"]))
    wait_until(lambda: "rests after failed attempts" in rack.poets("status").end())
    rack.worker()
    result = driver.result()

    assert (result["computed"], result["lost"]) == (80, 0)
    undisturbed.compare(tmp_path / "storage", "spring")
