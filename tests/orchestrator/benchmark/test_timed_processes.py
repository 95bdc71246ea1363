"""Real processes that time the worker's loop, and images that end or hang them."""

from dataclasses import replace

import pytest

from orchestrator.benchmark.timed_processes import make_timer, time_alone, time_together
from tests.builders.backbones import BACKBONE, BACKBONE_ID
from tests.builders.pictures import make_picture
from tests.builders.traps import lay
from workers.bottlenecks.requests import Request
from workers.bottlenecks.timing import STAGES
from workers.errors import PoetsError
from workers.settings import Settings


def timer(storage, backbone_id=BACKBONE_ID):
    return make_timer(Settings(storage.root, device="cpu"), replace(BACKBONE, id=backbone_id))


def images(folder, *names):
    paths = [make_picture(folder / name, (9, 99, 200), n) for n, name in enumerate(names)]
    return [Request(str(path), (path.stat().st_size, path.stat().st_mtime_ns)) for path in paths]


def test_one_process_takes_every_image_once(ready_storage, tmp_path):
    wanted = images(tmp_path, *(f"{n}.jpg" for n in range(20)))
    seen = []

    alone = time_alone(timer(ready_storage), wanted, 60, seen.append)

    assert alone.images == wanted
    assert alone.timing.images == alone.tried == 20
    assert seen == [*range(1, 21), 20]
    assert not alone.deadly


def test_deadly_images_cost_themselves_only(poison, ready_storage, tmp_path):
    wanted = images(tmp_path, "a.jpg", "1/aborts.jpg", "b.jpg", "2/exits.jpg", "c.jpg")

    alone = time_alone(timer(ready_storage), wanted, 60, lambda _: None)

    assert alone.deadly == {
        "killed the process that read it (SIGABRT)": 1,
        "ended the process that read it (exit code 7)": 1,
    }
    assert alone.images == [wanted[0], wanted[2], wanted[4]]
    assert alone.tried == 5


def test_an_image_that_hangs_is_given_up(poison, impatience, ready_storage, tmp_path):
    wanted = images(tmp_path, "hangs.jpg", "b.jpg")

    alone = time_alone(timer(ready_storage), wanted, 60, lambda _: None)

    assert alone.deadly == {"hangs: gave no result within 15 s": 1}
    assert alone.images == wanted[1:]


def test_a_folder_full_of_deadly_images_comes_to_an_end(poison, ready_storage, tmp_path):
    wanted = images(tmp_path, *(f"{n}/aborts.jpg" for n in range(9)))

    alone = time_alone(timer(ready_storage), wanted, 60, lambda _: None)

    assert alone.tried == 5
    assert alone.timing.images == 0


# Each process notes the pictures that it opens, and by its clock a second goes by at each look: how
# far it comes does not depend on the machine.
NOTED = """
import itertools

def note(name):
    if name.endswith(".jpg"): write_note(f"opened.{os.getpid()}", os.path.basename(name))

on_open(note)
time.perf_counter = itertools.count().__next__
"""


def test_several_processes_share_and_repeat_the_images(ready_storage, tmp_path, monkeypatch):
    names = [f"{n}.jpg" for n in range(9)]
    wanted = images(tmp_path, *names)
    for name, value in lay(tmp_path / "traps", NOTED).items():
        monkeypatch.setenv(name, value)

    timing = time_together([timer(ready_storage), timer(ready_storage)], wanted, 300)

    opened = [path.read_text().split() for path in (tmp_path / "traps").glob("opened.*")]
    assert {order[0] for order in opened} == {names[0], names[4]}
    for order in opened:
        first = names.index(order[0])
        assert len(order) > len(names)
        assert order == [names[(first + n) % len(names)] for n in range(len(order))]
    assert timing.images == sum(map(len, opened))
    assert tuple(timing.seconds) == STAGES


def test_a_process_that_cannot_start_says_why(ready_storage):
    timers = [timer(ready_storage, "nothing")]

    with pytest.raises(PoetsError, match=r"cannot start: .*OtherPoetsError"):
        time_together(timers, [Request("/a.jpg", (1, 1))], 1)
