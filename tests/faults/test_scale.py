"""Row 29: very many batches of next to no work."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.builders.accounting import assert_all_accounted
from tests.builders.pictures import COLOURS, make_picture
from tests.builders.programs import wait_until
from workers.leases import Keys

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
# 20,000 take some minutes; this many, with everything else as it is, fit among other tests.
BATCHES = int(os.environ.get("FAULTS_BATCHES", "2000"))


@pytest.fixture
def files(tmp_path):
    """One image a batch: every tenth is a picture, the others are empty."""
    picture = make_picture(tmp_path / "picture.jpg", COLOURS["red"])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    (tmp_path / "files").mkdir()
    for number in range(BATCHES):
        source = empty if number % 10 else picture
        os.link(source, tmp_path / "files" / f"{number:06d}.jpg")
    return tmp_path / "files"


def test_memory_stays_flat_however_many_batches_there_are(rack, undisturbed, files, tmp_path):
    rack.worker(concurrency=2)
    output = tmp_path / "labels.csv"
    job = ("classify-dir", files, "-o", output, "--model", undisturbed.model, "--batch-size", 1)
    driver = rack.poets(*job, "--name", "job", "--json")
    predictions = tmp_path / "storage" / "runs" / "job" / "predictions"

    def wait_for(share):
        count = BATCHES * share
        wait_until(lambda: len(list(predictions.glob("*.parquet"))) >= count)
        return peak_megabytes(driver.pid)

    early, late = wait_for(0.1), wait_for(0.9)
    queued = rack.client.llen("infer")
    result = driver.result()

    print(f"peak memory of the command {early:.0f} MB, then {late:.0f} MB; {queued} queued")
    assert late - early < 10
    assert queued <= 64
    broker_bytes = rack.client.info()["used_memory_peak"]
    print(f"peak memory of the broker {broker_bytes / 1e6:.1f} MB, {result['seconds']} s")
    assert broker_bytes < 100e6
    assert (result["ok"], result["failed"]) == (BATCHES // 10, BATCHES - BATCHES // 10)
    assert not rack.client.exists(Keys("job").starts)
    assert_all_accounted(tmp_path / "storage", "job", quarantined=BATCHES - BATCHES // 10)
    with output.open(newline="") as file:
        paths = Counter(row["path"] for row in csv.DictReader(file))
    assert paths == Counter(path.name for path in files.iterdir())


def peak_megabytes(pid):
    """Return the most memory that a process has had so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has ended")
