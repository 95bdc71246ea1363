"""The stages of the worker's loop, timed from outside: nothing done twice, nothing lost."""

import os
from collections import Counter

import numpy as np
import pytest

from tests.builders.backbones import BACKBONE
from tests.builders.pictures import make_picture
from workers.backbones.loading import open_backbone
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request
from workers.bottlenecks.timing import (
    STAGES,
    StageClock,
    TimedBackbone,
    Timing,
    TimingRequest,
    sum_timings,
    time_images,
)
from workers.images.loading import STEPS, Steps
from workers.processes.heartbeat import no_heartbeat


@pytest.fixture
def backbone(ready_storage):
    return open_backbone(ready_storage, BACKBONE, "cpu")


def counted_steps():
    """Return steps, and the counter that tells how often each was called."""
    calls = Counter()

    def counted(name, step):
        def call(*arguments):
            calls[name] += 1
            return step(*arguments)

        return call

    return Steps(*(counted(name, step) for name, step in STEPS._asdict().items())), calls


def requests(folder, count):
    """Write some pictures, and return a request for each."""
    paths = [make_picture(folder / f"{n}.jpg", (9, 99, 200), n) for n in range(count)]
    return [Request(str(path), (path.stat().st_size, path.stat().st_mtime_ns)) for path in paths]


def timed(wanted, backbone, limit_s=60.0, steps=STEPS):
    """Return what is told after each image, and at the end."""
    timings = []
    time_images(TimingRequest(wanted, limit_s), backbone, timings.append, steps)
    return timings


def test_each_step_is_done_once_for_each_image(backbone, tmp_path):
    steps, calls = counted_steps()

    timings = timed(requests(tmp_path, 20), backbone, steps=steps)

    assert calls == {"read": 20, "digest": 20, "decode": 20, "cut": 20}
    assert [timing.tried for timing in timings] == [*range(1, 21), 20]
    assert timings[-1].images == 20


def test_what_is_told_on_the_way_is_about_whole_chunks(backbone, tmp_path):
    for timing in timed(requests(tmp_path, 20), backbone)[:-1]:
        assert timing.images == (timing.tried - 1) // backbone.chunk * backbone.chunk
        assert (timing.seconds["forward"] > 0) == (timing.images > 0)


def test_every_stage_takes_some_time(backbone, tmp_path):
    timing = timed(requests(tmp_path, 10), backbone)[-1]

    assert tuple(timing.seconds) == STAGES
    assert all(seconds > 0 for seconds in timing.seconds.values())


def test_a_clock_changes_no_result(backbone, tmp_path):
    wanted, clock = requests(tmp_path, 3), StageClock()
    plain = list(compute_results(wanted, backbone, no_heartbeat))
    steps = clock.timed_steps(STEPS)

    found = list(compute_results(wanted, TimedBackbone(backbone, clock), no_heartbeat, steps))

    for one, other in zip(plain, found, strict=True):
        assert np.array_equal(one.bottleneck, other.bottleneck)
        assert one.digest == other.digest


def test_images_that_cannot_be_read_are_counted_by_reason(backbone, tmp_path):
    wanted = requests(tmp_path, 9)
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "empty.jpg").touch()
    wanted += [Request(str(tmp_path / name)) for name in ("text.jpg", "empty.jpg", "gone.jpg")]

    timing = timed(wanted, backbone)[-1]

    assert timing.images == 12
    assert timing.reasons == {
        "not an image: no known format": 1,
        "empty file": 1,
        f"cannot be opened: {os.strerror(2)}": 1,
    }


def test_padding_of_a_chunk_costs_the_images_nothing(backbone):
    seconds = iter([0.0, 8.0, 10.0, 18.0])  # two calls of eight seconds
    clock = StageClock()
    timed = TimedBackbone(backbone, clock)
    pixels = np.zeros((backbone.chunk, *backbone.input_size, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: next(seconds))
        timed.compute(pixels)
        timed.compute(pixels[:1])

    found = clock.by_stage(20.0)

    assert found["forward"] == pytest.approx(8 + 8 / backbone.chunk)
    assert found["other"] == pytest.approx(4)


def test_no_image_is_begun_when_the_time_is_up(backbone, tmp_path):
    steps, calls = counted_steps()

    assert timed(requests(tmp_path, 3), backbone, limit_s=0, steps=steps) == [Timing()]
    assert not calls


def test_the_images_are_repeated_while_there_is_time(backbone, tmp_path):
    class Enough(Exception):
        pass

    def tell(timing):
        if timing.tried == 20:
            raise Enough

    steps, calls = counted_steps()
    asked = TimingRequest(requests(tmp_path, 9), 60.0, is_repeated=True)

    with pytest.raises(Enough):
        time_images(asked, backbone, tell, steps)

    assert calls["decode"] == 20


def test_timings_add_up():
    one = Timing(3, 2, dict.fromkeys(STAGES, 1.0), {"empty file": 1})
    other = Timing(4, 3, dict.fromkeys(STAGES, 2.0), {"empty file": 1, "other": 2})

    total = sum_timings([one, other])

    assert total == Timing(7, 5, dict.fromkeys(STAGES, 3.0), {"empty file": 2, "other": 2})
