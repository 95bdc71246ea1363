"""The stages of the worker's loop, timed from outside: nothing done twice, nothing lost."""

import os
from collections import Counter

import numpy as np
import pytest

from tests.builders.backbones import BACKBONE
from tests.builders.pictures import make_picture
from workers.backbones.loading import open_backbone
from workers.bottlenecks import timing
from workers.bottlenecks.batches import Request
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.timing import STAGES, Clock, TimedBackbone, time_images
from workers.images.loading import STEPS, Steps


@pytest.fixture
def backbone(ready_storage):
    return open_backbone(ready_storage, BACKBONE, "cpu")


@pytest.fixture
def calls(monkeypatch):
    """How often each step of an image was called."""
    counts = Counter()

    def counted(name, step):
        def call(*arguments):
            counts[name] += 1
            return step(*arguments)

        return call

    steps = Steps(*(counted(name, step) for name, step in STEPS._asdict().items()))
    monkeypatch.setattr(timing, "STEPS", steps)
    return counts


def requests(folder, count):
    """Write so many pictures, and return a request for each."""
    paths = [make_picture(folder / f"{n}.jpg", (9, 99, 200), n) for n in range(count)]
    return [Request(str(path), (path.stat().st_size, path.stat().st_mtime_ns)) for path in paths]


def timed(wanted, backbone, limit_s=60.0, heartbeat=lambda: None):
    return list(time_images(wanted, backbone, Clock(), limit_s, heartbeat))


def test_each_step_is_done_once_for_each_image(calls, backbone, tmp_path):
    beats = []

    laps = timed(requests(tmp_path, 20), backbone, heartbeat=lambda: beats.append(1))

    assert calls == {"read": 20, "digest": 20, "decode": 20, "cut": 20}
    assert len(beats) == laps[-1].images == 20


def test_every_stage_takes_some_time(calls, backbone, tmp_path):
    lap = timed(requests(tmp_path, 10), backbone)[-1]

    assert tuple(lap.seconds) == STAGES
    assert all(seconds > 0 for seconds in lap.seconds.values())


def test_a_clock_changes_no_result(calls, backbone, tmp_path):
    wanted = requests(tmp_path, 3)
    plain = list(compute_results(wanted, backbone, lambda: None))
    clock = Clock()
    watched = TimedBackbone(backbone, clock)

    found = list(compute_results(wanted, watched, lambda: None, clock.steps()))

    for one, other in zip(plain, found, strict=True):
        assert np.array_equal(one.bottleneck, other.bottleneck)
        assert one.digest == other.digest


def test_images_that_cannot_be_read_are_counted_by_reason(calls, backbone, tmp_path):
    wanted = requests(tmp_path, 9)
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "empty.jpg").touch()
    wanted += [Request(str(tmp_path / name)) for name in ("text.jpg", "empty.jpg", "gone.jpg")]

    lap = timed(wanted, backbone)[-1]

    assert lap.images == 12
    assert lap.reasons == {
        "not an image: no known format": 1,
        "empty file": 1,
        f"cannot be opened: {os.strerror(2)}": 1,
    }


def test_the_places_of_a_chunk_that_stay_empty_cost_the_images_nothing(backbone):
    seconds = iter([0.0, 8.0, 10.0, 18.0])  # two calls of eight seconds
    clock = Clock()
    watched = TimedBackbone(backbone, clock)
    pixels = np.zeros((backbone.chunk, *backbone.input_size, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing.time, "perf_counter", lambda: next(seconds))
        watched.compute(pixels)
        watched.compute(pixels[:1])

    chunk = backbone.chunk
    assert (watched.rows, watched.places) == (chunk + 1, 2 * chunk)
    expected = 16.0 * (chunk + 1) / (2 * chunk)
    assert timing._by_stage(clock, watched, 20.0)["forward"] == pytest.approx(expected)


def test_no_image_is_begun_when_the_time_is_up(calls, backbone, tmp_path):
    assert timed(requests(tmp_path, 3), backbone, limit_s=0) == []
    assert calls["read"] == 0


def test_the_images_are_repeated_while_there_is_time(calls, backbone, tmp_path):
    laps = time_images(requests(tmp_path, 9), backbone, Clock(), 60.0, lambda: None, True)

    found = [next(laps).images for _ in range(4)]

    assert found[-1] > 9
    assert found[-1] == calls["decode"]


def test_a_call_of_the_loop_has_whole_chunks():
    assert [timing._next_size(n, 8) for n in (0.2, 9, 17, 1000)] == [8, 8, 16, 64]
    assert timing._next_size(1000, 128) == 128


def test_any_file_name_reaches_the_program():
    files = [("/photos/caf\udce9\n.jpg", 12, 34)]

    found, limit_s, beats, is_repeated = timing._decode_request(
        timing.encode_request(files, 1.5, True, False)
    )

    assert found == [Request("/photos/caf\udce9\n.jpg", (12, 34))]
    assert (limit_s, beats, is_repeated) == (1.5, True, False)
