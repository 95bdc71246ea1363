"""Row 30: something is killed every three seconds for the whole of a run."""

import os
import random
import time
from pathlib import Path

import pytest

from orchestrator.driving.reconcile import MOST_STARTS
from tests.builders.backbones import TINY_OPTIONS
from tests.builders.datasets import make_data_set
from tests.builders.once import make_once
from tests.builders.paths import DATA
from tests.builders.programs import kill, wait_until
from tests.builders.traps import lay_trap
from tests.faults.rack import children_of
from tests.faults.undisturbed import Undisturbed, run_undisturbed
from workers.leases import Keys

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("ready_storage")]
JOB = (*TINY_OPTIONS, "--batch-size", "8")
EVERY_S = 3.0


@pytest.fixture(scope="session")
def long_undisturbed(tmp_path_factory, converted):
    """A run over the 925 photographs of the shared data, or over as many that are drawn."""

    def photos(folder: Path) -> Path:
        return DATA / "flowers" if DATA.is_dir() else folder / "photos"

    def make(folder: Path) -> None:
        if not DATA.is_dir():
            make_data_set(photos(folder), 308, ("blue", "green", "red"))
        run_undisturbed(photos(folder), folder / "storage", converted.root / "backbones", *JOB)

    folder = make_once(tmp_path_factory, "chaos", make)
    return Undisturbed(photos(folder), folder / "storage")


class Crew:
    """Two workers and two coordinators, each started again when it dies, as a rack does."""

    def __init__(self, rack, slow):
        self.rack, self.slow = rack, slow
        self.workers = [self.start_worker() for _ in range(2)]
        self.coordinators = [rack.poets("coordinator") for _ in range(2)]

    def start_worker(self):
        return self.rack.worker(**self.slow)

    def wait_until_no_verdict_is_near(self):
        """Wait while another death would be the verdict on an item.

        Where the machine is busy an item takes longer than the time between two deaths.
        """
        starts = Keys("spring").starts
        wait_until(lambda: all(int(n) < MOST_STARTS - 1 for n in self.rack.client.hvals(starts)))

    def kill_one(self, chance):
        """Kill one of them, or one child, and return what it was."""
        self.wait_until_no_verdict_is_near()
        what, which = chance.choice(["worker", "child", "coordinator"]), chance.randrange(2)
        if what == "worker":
            self.workers[which].kill()
            self.workers[which] = self.start_worker()
        elif what == "coordinator":
            self.coordinators[which].kill()
            self.coordinators[which] = self.rack.poets("coordinator")
        else:
            # None while the worker is starting, or has just lost one.
            for child in children_of(self.workers[which].pid)[:1]:
                kill(child)
        return f"{what} {which}"


def test_whatever_is_killed_the_run_ends_as_if_nothing_had_happened(
    rack, long_undisturbed, tmp_path
):
    seed = int(os.environ.get("FAULTS_SEED", time.time_ns() % 1_000_000))
    print(f"FAULTS_SEED={seed} kills the same, though not at the same moments")
    chance = random.Random(seed)
    place = "workers.images.files:read_image_file"
    crew = Crew(rack, lay_trap(tmp_path / "slow", place, "time.sleep(.06)", once=False))
    wait_until(lambda: rack.client.exists("poets:coordinator"))
    job = ("submit-dataset", long_undisturbed.photos, *JOB, "--name", "spring", "--detach")
    rack.poets(*job).end()
    storage = tmp_path / "storage"
    result = storage / "runs" / "spring" / "result.json"
    shards = 116
    restarts = [shards // 3, 2 * shards // 3]

    began, killed = time.monotonic(), []
    wait_until(lambda: list(storage.glob("bottlenecks/*/*/*.arrow")))
    while not result.exists():
        killed.append(crew.kill_one(chance))
        done = len(list(storage.glob("bottlenecks/*/*/*.arrow")))
        if restarts and done >= restarts[0]:
            del restarts[0]
            rack.kill_server()
            killed.append("server")
            time.sleep(1)
            rack.start_server()
        time.sleep(EVERY_S)

    print(f"{time.monotonic() - began:.0f} s, {len(killed)} kills: {', '.join(killed)}")
    print("starts of the trainer:", rack.client.get(Keys("spring").fence("train")))
    assert killed.count("server") == 2
    long_undisturbed.compare(storage, "spring")
