"""Rate and time to end."""

import pytest

from orchestrator.progress import Meter, counted


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


def batches_of(size, at, until, total):
    """Return the progress at each fifth of a second while batches end at the times given."""
    for tick in range(1, int(until * 5)):
        now = tick / 5
        yield now, sum(size for time in at if time <= now)


@pytest.mark.parametrize("second", [0.2, 6, 32, 58])
def test_two_processes_with_large_slow_batches_have_a_rate_and_an_end(clock, second):
    """512 images at 8 a second each: 16 a second, in batches 64 s apart."""
    meter = Meter(total=100_000)
    meter.measure("computing", 0, 0)
    ends = [64 * n for n in range(1, 12)] + [64 * n + second for n in range(1, 12)]
    third = sorted(ends)[2]

    for now, done in batches_of(512, ends, 640, 100_000):
        clock[0] = 1000 + now
        progress = meter.measure("computing", done, 0)
        if now >= third:
            assert progress.rate == pytest.approx(16, rel=0.3), (now, done)
            assert progress.left_s is not None


def test_the_rate_falls_while_nothing_comes_and_is_back_soon_after(clock):
    meter = Meter(total=100_000)
    for second in range(60):
        meter.measure("computing", second * 100, 0)
        clock[0] += 1
    rates = []
    for _ in range(30):
        rates.append(meter.measure("computing", 5900, 0).rate)
        clock[0] += 1

    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 10

    for second in range(61):
        progress = meter.measure("computing", 6000 + second * 100, 0)
        clock[0] += 1
    assert progress.rate == pytest.approx(100)


def test_items_are_counted_now_and_then(clock):
    def items():
        for number in range(10):
            yield number
            clock[0] += 0.125

    reports = []

    assert list(counted(items(), reports.append)) == list(range(10))
    assert reports == [3, 5, 7, 9]


def test_before_anything_is_done_nothing_is_promised(clock):
    progress = Meter(total=10).measure("labelling", 0, 0)

    assert (progress.rate, progress.left_s) == (None, None)
