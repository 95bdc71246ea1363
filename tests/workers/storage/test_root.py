"""Nobody writes into a storage that is not there, such as below the mount point of one."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.builders.backbones import BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.runs import make_run, pretend
from workers.backbones.store import BackboneDescription, write_backbone
from workers.bottlenecks.batches import complete_batch
from workers.errors import NoStorageError, StorageError
from workers.heads.head import Head
from workers.heads.learning_curve import StepLog
from workers.heads.model_folder import ModelCard, Preprocessing, save_model
from workers.reports.tensorboard_summaries import EventFile
from workers.storage.atomic import create_once, write_whole
from workers.storage.layout import Storage
from workers.storage.making import make_storage, use_storage
from workers.storage.manifest import read_batches, write_manifest
from workers.storage.predictions import write_predictions
from workers.storage.root import MARKER, storage_id
from workers.storage.shards import Shard, write_shard

CARD = ModelCard(
    name="run",
    created="",
    architecture="",
    backbone_id="",
    weights="",
    backbone_sha256="",
    preprocessing=Preprocessing((1, 1), None),
    bottleneck_size=1,
    labels=(),
    counts={},
    metrics={},
    training={},
    versions={},
)
HEAD = Head(np.zeros((1, 2), np.float32), np.zeros(2, np.float32))
NETWORK = BackboneDescription("", "", (1, 1), None, 1, "")
SHARD = Shard([], [], [], [], np.zeros((0, 4), np.float32), [])
WRITERS = {
    "a shard": lambda storage, run: write_shard(storage.shard("b", "ab"), SHARD),
    "a backbone": lambda storage, run: write_backbone(storage, "b", b"", NETWORK),
    "weights": lambda storage, run: write_whole(storage.weights("ab"), b""),
    "a verdict": lambda storage, run: write_whole(run.failure, b"{}"),
    "a result": lambda storage, run: create_once(run.result, b"{}"),
    "a mark": lambda storage, run: write_whole(run.redo / "1", b""),
    "predictions": lambda storage, run: write_predictions(
        run.prediction_shard(1), [], top_k=1, model="m"
    ),
    "a manifest": lambda storage, run: write_manifest(run.manifest, []),
    "a model": lambda storage, run: save_model(run.model, CARD, HEAD, run.plan, {}),
    "a curve": lambda storage, run: StepLog(run.steps).__exit__(),
    "summaries": lambda storage, run: EventFile(run.summaries / "train").__exit__(),
}


def unmount(storage: Storage):
    """Leave what an unmounted storage leaves: an empty folder."""
    away = storage.root.rename(storage.root.with_name("away"))
    storage.root.mkdir()
    return away


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def run(storage, tmp_path):
    return make_run(storage, make_data_set(tmp_path / "photos"))


def test_a_storage_is_made_once_however_many_make_it(tmp_path):
    root = tmp_path / "deep" / "storage"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make_storage, [root] * 16))

    known = storage_id(root)
    make_storage(root)
    assert (storage_id(root), files_below(root)) == (known, [MARKER])


def test_two_storages_are_told_apart_and_a_copy_is_the_same(tmp_path):
    for name in ("one", "two"):
        make_storage(tmp_path / name)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")

    assert storage_id(tmp_path / "copy") == storage_id(tmp_path / "one")
    assert storage_id(tmp_path / "two") != storage_id(tmp_path / "one")


@pytest.mark.parametrize("is_there", [False, True], ids=["no folder", "an empty folder"])
def test_no_storage_is_made_for_who_only_uses_one(tmp_path, is_there):
    root = tmp_path / "storage"
    if is_there:
        root.mkdir()

    with pytest.raises(NoStorageError, match=r"was it unmounted\?"):
        use_storage(root)

    assert files_below(tmp_path) == ["storage"] * is_there


def test_the_storage_of_an_earlier_version_gets_its_marker(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(NoStorageError, match="earlier version"):
        storage_id(tmp_path)

    use_storage(tmp_path)

    assert storage_id(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 40, b'{"id": "a", "version": 2}'])
def test_a_marker_that_cannot_be_read_is_neither_taken_nor_replaced(storage, content):
    (storage.root / MARKER).write_bytes(content)

    with pytest.raises(StorageError, match="marker"):
        storage_id(storage.root)

    use_storage(storage.root)
    assert (storage.root / MARKER).read_bytes() == content


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_nothing_is_written_below_the_mount_point(storage, run, write):
    write(storage, run.folder)
    unmount(storage)

    with pytest.raises(StorageError):
        write(storage, run.folder)

    assert files_below(storage.root) == []


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_nor_where_an_earlier_version_has_left_folders_there(storage, run, write):
    unmount(storage)
    for folder in (run.folder.path, storage.bottlenecks("b") / "ab"):
        folder.mkdir(parents=True)
    left = files_below(storage.root)

    with pytest.raises(NoStorageError):
        write(storage, run.folder)

    assert files_below(storage.root) == left


@pytest.mark.parametrize(
    "name", ["a verdict", "a result", "a mark", "predictions", "a model", "a curve", "summaries"]
)
def test_a_run_is_not_made_again_by_what_is_added_to_it(storage, run, name):
    """As when its folder was deleted, or another storage is mounted in the place of its own."""
    shutil.rmtree(run.folder.path)

    with pytest.raises(StorageError, match="No such file or directory"):
        WRITERS[name](storage, run.folder)

    assert list(storage.runs.iterdir()) == []


def test_what_was_unmounted_is_not_taken_for_missing(storage, run):
    batch = next(read_batches(run.folder))
    complete_batch(run, batch, pretend)
    unmount(storage)

    with pytest.raises(NoStorageError):
        complete_batch(run, batch, pretend)

    assert not storage.bottlenecks(BACKBONE_ID).exists()
