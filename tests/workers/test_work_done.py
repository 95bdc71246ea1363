"""How much work an image and a batch are: counted, so that no machine is too slow for it."""

import functools
import sys
from collections import Counter

import pytest

from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers import task_frame
from workers.backbones.litert import LiteRTBackbone
from workers.bottlenecks.computing import compute_results
from workers.images.loading import STEPS, Steps
from workers.leases import connect
from workers.tasks import compute_batch

_OPENED = Counter()


def _note_opens(event, arguments):
    if event == "open":
        _OPENED[str(arguments[0])] += 1


sys.addaudithook(_note_opens)


@pytest.fixture
def run(broker_url, ready_storage, tmp_path, monkeypatch):
    monkeypatch.setenv("POETS_DEVICE", "cpu")
    photos = make_data_set(tmp_path / "photos", per_label=15)
    (photos / "red" / "broken.jpg").write_text("no image")
    return make_run(ready_storage, photos, batch_size=40)


@pytest.fixture
def counts(monkeypatch):
    """Count what the steps of an image are called for."""
    found = Counter()

    def counted(name, step, amount=lambda *_: 1):
        def call(*arguments):
            found[name] += amount(*arguments)
            return step(*arguments)

        return call

    steps = Steps(*(counted(name, step) for name, step in STEPS._asdict().items()))
    monkeypatch.setattr(
        task_frame, "compute_results", functools.partial(compute_results, steps=steps)
    )
    compute = counted("compute", LiteRTBackbone.compute, lambda _, pixels: len(pixels))
    monkeypatch.setattr(LiteRTBackbone, "compute", compute)
    return found


def test_an_image_is_opened_hashed_decoded_and_computed_once(run, counts, tmp_path):
    _OPENED.clear()

    compute_batch("run", 0)

    photos = str(tmp_path / "photos")
    opened = {path: count for path, count in _OPENED.items() if path.startswith(photos)}
    assert len(opened) == 31
    assert set(opened.values()) == {1}
    assert counts == {"read": 31, "digest": 31, "decode": 31, "cut": 30, "compute": 30}


def test_a_second_delivery_touches_no_image(run, counts, tmp_path):
    compute_batch("run", 0)
    counts.clear()
    _OPENED.clear()

    compute_batch("run", 0)

    assert counts == {}
    assert not any(path.startswith(str(tmp_path / "photos")) for path in _OPENED)


def test_a_batch_is_a_score_of_redis_commands_however_many_images_it_has(run, broker_url):
    client = connect(broker_url)
    before = client.info("stats")["total_commands_processed"]

    compute_batch("run", 0)

    sent = client.info("stats")["total_commands_processed"] - before
    assert 5 <= sent <= 24
