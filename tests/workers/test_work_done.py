"""How much work an image and a batch are: counted, so that no machine is too slow for it."""

import hashlib
import sys
from collections import Counter

import pytest

from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.backbones.litert import LiteRTBackbone
from workers.images import loading
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

    def note(owner, name, amount=lambda *_: 1):
        step = getattr(owner, name)

        def counted(*arguments):
            found[name] += amount(*arguments)
            return step(*arguments)

        monkeypatch.setattr(owner, name, counted)

    note(loading, "decode_picture")
    note(loading, "cut_pixels")
    note(LiteRTBackbone, "compute", lambda _, pixels: len(pixels))

    class Hashlib:
        @staticmethod
        def sha256(content):
            found["sha256"] += 1
            return hashlib.sha256(content)

    monkeypatch.setattr(loading, "hashlib", Hashlib)
    return found


def test_an_image_is_opened_hashed_decoded_and_computed_once(run, counts, tmp_path):
    _OPENED.clear()

    compute_batch("run", 0)

    photos = str(tmp_path / "photos")
    opened = {path: count for path, count in _OPENED.items() if path.startswith(photos)}
    assert len(opened) == 31
    assert set(opened.values()) == {1}
    assert counts == {"sha256": 31, "decode_picture": 31, "cut_pixels": 30, "compute": 30}


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
