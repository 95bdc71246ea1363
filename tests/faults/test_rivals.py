"""Row 27: several who would do the same: one acts, the others say so or watch; one model."""

import pytest

from tests.builders.accounting import assert_same_model
from tests.builders.programs import wait_until
from tests.builders.traps import lay_trap
from tests.faults.undisturbed import JOB
from workers.leases import Keys

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]


def submit(rack, photos, *options):
    return rack.poets("submit-dataset", photos, *JOB, "--json", *options)


def test_of_two_submits_with_one_name_one_acts_and_the_other_says_so(rack, undisturbed, tmp_path):
    rivals = [submit(rack, undisturbed.photos, "--name", "spring") for _ in range(2)]
    rack.worker(concurrency=2)

    codes = sorted(rival.process.wait() for rival in rivals)

    assert codes == [0, 1]
    [refused] = [rival.said() for rival in rivals if rival.process.returncode]
    assert "There is a run 'spring' already" in refused
    assert "`poets resume spring`" in refused
    assert rack.client.get(Keys("spring").fence("train")) == "1"
    undisturbed.compare(tmp_path / "storage", "spring")


def test_two_submits_of_one_folder_are_two_runs_that_share_every_bottleneck(
    rack, undisturbed, tmp_path
):
    rivals = [submit(rack, undisturbed.photos) for _ in range(2)]
    rack.worker(concurrency=2)

    results = [rival.result() for rival in rivals]

    assert {result["run"] for result in results} == {"photos-1", "photos-2"}
    for result in results:
        undisturbed.compare(tmp_path / "storage", result["run"])


def test_of_two_coordinators_one_drives_a_run(rack, undisturbed, tmp_path):
    coordinators = [rack.poets("coordinator") for _ in range(2)]
    wait_until(lambda: all("Coordinating" in one.said() for one in coordinators))
    wait_until(lambda: rack.client.exists("poets:coordinator"))
    rack.worker(concurrency=2)
    submit(rack, undisturbed.photos, "--name", "spring", "--detach").end()

    wait_until((tmp_path / "storage" / "runs" / "spring" / "result.json").exists)

    wait_until(lambda: "has finished" in "".join(one.said() for one in coordinators))
    assert rack.client.get(Keys("spring").fence("train")) == "1"
    assert int(rack.client.get("poets:sent")) == 11
    undisturbed.compare(tmp_path / "storage", "spring")


def test_resuming_a_run_that_somebody_drives_watches_it(rack, undisturbed, tmp_path):
    slow = lay_trap(
        tmp_path / "slow",
        "workers.bottlenecks.batches:complete_batch",
        "time.sleep(.5)",
        once=False,
    )
    driver = submit(rack, undisturbed.photos, "--name", "spring")
    wait_until(lambda: rack.client.llen("bottleneck") == 10)
    watcher = rack.poets("resume", "spring", "--json")
    wait_until(lambda: "driven by another process" in watcher.said())
    rack.worker(concurrency=2, **slow)

    driven, watched = driver.result(), watcher.result()

    del driven["seconds"], watched["seconds"]
    assert driven == watched
    assert int(rack.client.get("poets:sent")) == 11
    assert_same_model(tmp_path / "storage" / "runs" / "spring" / "model", undisturbed.model)
    undisturbed.compare(tmp_path / "storage", "spring")
