"""Rate and time to end."""

import pytest

from orchestrator.progress import Meter


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_rate_and_time_to_end_are_those_of_late(clock):
    meter = Meter(total=1000)
    meter.measure("labelling", 0, 0)
    clock[0] += 10

    progress = meter.measure("labelling", 200, 3)

    assert progress.rate == pytest.approx(20)
    assert progress.left_s == pytest.approx(40)
    assert progress.failed == 3


def test_images_that_were_done_before_do_not_count(clock):
    meter = Meter(total=1000)
    meter.measure("labelling", 900, 0)
    clock[0] += 10

    assert meter.measure("labelling", 910, 0).rate == pytest.approx(1)


def test_the_wait_for_the_backbone_does_not_slow_the_rate(clock):
    meter = Meter(total=1000)
    meter.measure("preparing", 0, 0)
    clock[0] += 15
    meter.measure("computing", 0, 0)
    clock[0] += 1

    assert meter.measure("computing", 100, 0).rate == pytest.approx(100)


def test_the_rate_forgets_what_was_long_ago(clock):
    meter = Meter(total=10_000)
    for second in range(100):
        progress = meter.measure("computing", min(second, 50) * 100, 0)
        clock[0] += 1

    assert progress.rate is None or progress.rate < 20


def test_before_anything_is_done_nothing_is_promised(clock):
    progress = Meter(total=10).measure("labelling", 0, 0)

    assert (progress.rate, progress.left_s) == (None, None)
