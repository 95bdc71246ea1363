"""What the bottlenecks of a run are gathered from; `tests/workers/test_training.py` has more."""

from dataclasses import replace

import pytest

from tests.builders.datasets import make_data_set
from tests.builders.runs import compute_run, make_run
from workers.bottlenecks.gathering import contents_held_out, gather_bottlenecks
from workers.errors import RunError
from workers.processes.heartbeat import no_heartbeat
from workers.storage.manifest import read_batches, write_manifest


def test_an_image_without_a_split_never_trains(ready_storage, tmp_path):
    run = make_run(ready_storage, make_data_set(tmp_path / "photos"))
    batches = [batch.images for batch in read_batches(run.folder)]
    batches[0] = (replace(batches[0][0], split=None), *batches[0][1:])
    run.folder.manifest.unlink()
    write_manifest(run.folder.manifest, batches)
    compute_run(run)

    with pytest.raises(RunError, match=f"no split for {batches[0][0].path!r}"):
        gather_bottlenecks(run, no_heartbeat)


def test_contents_are_held_out_from_the_splits_that_would_learn_the_answer():
    images = [
        ("testing", b"t"), ("validation", b"v"), ("training", b"a"), ("training", None),
        (None, b"n"),
    ]  # fmt: skip

    assert contents_held_out(images) == {
        "testing": set(),
        "validation": {b"t"},
        "training": {b"t", b"v"},
    }
