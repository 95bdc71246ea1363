"""What the bottlenecks of a run are gathered from; `tests/workers/test_training.py` has more."""

from dataclasses import replace

import pytest

from tests.builders.backbones import BACKBONE
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run
from workers.backbones.loading import open_backbone
from workers.bottlenecks.batches import complete_batch
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.gathering import gather_bottlenecks
from workers.errors import RunError
from workers.processes.heartbeat import no_heartbeat
from workers.storage.manifest import read_batches, write_manifest


def test_an_image_without_a_split_never_trains(ready_storage, tmp_path):
    run = make_run(ready_storage, make_data_set(tmp_path / "photos"))
    plan = run.plan
    batches = [batch.images for batch in read_batches(run.folder)]
    batches[0] = (replace(batches[0][0], split=None), *batches[0][1:])
    run.folder.manifest.unlink()
    write_manifest(run.folder.manifest, batches)
    backbone = open_backbone(ready_storage, BACKBONE, "cpu")

    def compute(requests):
        return compute_results(requests, backbone, no_heartbeat)

    for batch in read_batches(run.folder):
        complete_batch(run, batch, compute)

    with pytest.raises(RunError, match=f"no split for {batches[0][0].path!r}"):
        gather_bottlenecks(ready_storage, run, plan, no_heartbeat)
