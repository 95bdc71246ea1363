"""The tasks, called in this process with a real broker: checked, reported, and repeatable."""

import contextlib
import json
import shutil
import socket
import subprocess
from dataclasses import replace
from functools import partial

import pyarrow.parquet as pq
import pytest

from orchestrator.dataset.scan import scan_folder
from orchestrator.planning.plan import plan_labelling
from tests.builders.backbones import ARCHITECTURE, BACKBONE, BACKBONE_ID, WEIGHTS, install_tiny
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.runs import make_run
from workers import task_frame
from workers.backbones import table
from workers.backbones.loading import open_backbone
from workers.backbones.store import has_backbone
from workers.backbones.table import find_spec, name_backbone
from workers.backbones.weights import digest_file
from workers.bottlenecks.computing import compute_results
from workers.errors import DatasetError, LeaseLostError, NoStorageError, RunError, StorageError
from workers.heads.model_folder import MODEL_FILES, load_model, read_head
from workers.items import Item
from workers.labelling import classify_files
from workers.leases import Keys, connect, tell_storage
from workers.presence import ONLY_WORKER
from workers.storage.atomic import write_whole
from workers.storage.layout import Storage
from workers.storage.making import make_storage
from workers.storage.manifest import read_batch, read_batches
from workers.storage.plan import LabellingOptions, TrainingOptions
from workers.storage.root import storage_id
from workers.storage.shards import read_shard
from workers.storage.unreachable import Unreachable, read_unreachable
from workers.task_frame import working_on
from workers.tasks import compute_batch, convert_backbone, label_batch, train_head

KEYS = Keys("run")
HERE = f"A worker on {socket.gethostname()}"
BROKEN = "not an image: no known format"


@pytest.fixture
def client(broker_url, monkeypatch):
    monkeypatch.setenv("POETS_DEVICE", "cpu")
    monkeypatch.setattr(task_frame, "_failures", [])
    return connect(broker_url)


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos")


@pytest.fixture
def run(client, ready_storage, photos):
    return make_run(ready_storage, photos)


@pytest.fixture
def trained(run):
    for number in range(3):
        compute_batch("run", number)
    train_head("run")
    return run


def plan_job(storage, photos, model, name="job", top_k=2):
    options = LabellingOptions(str(model), "labels.csv", "csv", top_k)
    return plan_labelling(
        storage,
        scan_folder(photos),
        BACKBONE,
        options,
        model,
        name=name,
        batch_size=10,
    )


def shard_of(storage, run, number):
    return storage.shard(BACKBONE_ID, list(read_batches(run.folder))[number].own_shard)


def test_a_batch_is_computed_and_reported(client, ready_storage, run):
    compute_batch("run", 1)

    shard = read_shard(shard_of(ready_storage, run, 1))
    assert len(shard.uris) == 8
    assert shard.errors == [None] * 8
    assert client.lrange(KEYS.done, 0, -1) == ["[1, 0]"]
    assert not client.exists(KEYS.starts, KEYS.lease("1"), KEYS.failed_attempts)


def test_failed_images_are_counted_in_the_report(client, ready_storage, photos):
    (photos / "blue" / "001.jpg").write_bytes(b"broken")
    run = make_run(ready_storage, photos)

    compute_batch("run", 0)

    assert read_shard(shard_of(ready_storage, run, 0)).errors == [None, BROKEN, *[None] * 6]
    assert client.lrange(KEYS.done, 0, -1) == ["[0, 1]"]


def test_an_image_that_fails_with_its_variants_is_one_failure(client, ready_storage, photos):
    options = TrainingOptions(flip_left_right=True, variants=2)
    broken = next(image for image in read_batches(make_run(ready_storage, photos, "before").folder))
    path = next(image.path for image in broken.images if image.split == "training")
    (photos / path).write_bytes(b"broken")
    run = make_run(ready_storage, photos, options=options, batch_size=100)

    compute_batch("run", 0)

    errors = read_shard(shard_of(ready_storage, run, 0)).errors
    assert errors.count(BROKEN) == 3
    assert client.lrange(KEYS.done, 0, -1) == ["[0, 1]"]


def test_a_second_delivery_is_reported_again_and_changes_nothing(client, ready_storage, run):
    compute_batch("run", 0)
    before = shard_of(ready_storage, run, 0).stat()

    compute_batch("run", 0)

    after = shard_of(ready_storage, run, 0).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert client.lrange(KEYS.done, 0, -1) == ["[0, 0]"] * 2


def test_after_an_attempt_that_died_images_are_computed_one_by_one(
    client, ready_storage, run, monkeypatch
):
    client.hset(KEYS.starts, "0", 1)
    started = []
    popen = subprocess.Popen

    def note(command, **options):
        started.append(command)
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", note)

    compute_batch("run", 0)

    assert [command[1:4] for command in started] == [["-P", "-m", "workers.bottlenecks.isolated"]]
    assert read_shard(shard_of(ready_storage, run, 0)).errors == [None] * 8
    assert not client.hexists(KEYS.starts, "0")


def test_careful_and_fast_attempts_write_the_same_shard(client, ready_storage, run):
    compute_batch("run", 0)
    fast = shard_of(ready_storage, run, 0).read_bytes()
    shard_of(ready_storage, run, 0).unlink()
    client.hset(KEYS.starts, "0", 1)

    compute_batch("run", 0)

    assert shard_of(ready_storage, run, 0).read_bytes() == fast


def test_a_cancelled_run_is_left_alone(client, ready_storage, run):
    run.folder.cancelled.touch()

    for task in (compute_batch, label_batch):
        task("run", 0)
    for task in (train_head, convert_backbone):
        task("run")

    assert not shard_of(ready_storage, run, 0).exists()
    assert list(client.scan_iter()) == []


@pytest.mark.parametrize("name", ["../run", "", "a/b"])
def test_a_message_with_a_name_that_no_run_can_have_is_refused(client, ready_storage, run, name):
    with pytest.raises(RunError):
        compute_batch(name, 0)

    assert list(client.scan_iter()) == []


def test_a_worker_with_another_storage_says_which_it_has(client, run, tmp_path, monkeypatch):
    make_storage(tmp_path / "elsewhere")
    monkeypatch.setenv("POETS_STORAGE", str(tmp_path / "elsewhere"))

    with pytest.raises(RunError, match="no run 'run'"):
        compute_batch("run", 0)

    reason = client.hget(KEYS.failed_attempts, "0")
    assert f"has the storage {tmp_path}/elsewhere" in reason
    assert "POETS_STORAGE" in reason


def test_a_worker_with_a_storage_that_has_a_run_of_that_name_too_is_named_at_once(
    client, run, photos, tmp_path, monkeypatch
):
    tell_storage(client, "run", storage_id(run.storage.root))
    other = tmp_path / "other"
    make_storage(other)
    make_run(install_tiny(Storage(other), WEIGHTS), photos)
    monkeypatch.setenv("POETS_STORAGE", str(other))

    with pytest.raises(StorageError):
        compute_batch("run", 0)

    reason = client.hget(KEYS.failed_attempts, "0")
    assert reason.startswith(f"{HERE} says: The folder {other} is another storage than that")
    assert not list(other.glob("bottlenecks"))
    assert not client.exists(KEYS.done)


def test_a_storage_may_be_mounted_elsewhere(client, run, tmp_path, monkeypatch):
    tell_storage(client, "run", storage_id(run.storage.root))
    (tmp_path / "mounted").symlink_to(run.storage.root)
    monkeypatch.setenv("POETS_STORAGE", str(tmp_path / "mounted"))

    compute_batch("run", 0)

    assert client.lrange(KEYS.done, 0, -1) == ["[0, 0]"]


READERS = {
    "the manifest": lambda run: read_batch(run.folder, 0),
    "the backbone": lambda run: open_backbone(run.storage, BACKBONE, "cpu"),
    "weights": lambda run: digest_file(run.storage.weights("ab")),
    "the model": lambda run: load_model(run.folder.model),
    "its head": lambda run: read_head(run.folder.model, None),
}


@pytest.mark.parametrize("comes_back", [True, False])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_unmounted_during_a_task_is_no_verdict(client, run, read, comes_back):
    """Also when it is there again before anything is said about it."""
    root, away = run.storage.root, run.storage.root.with_name("away")
    for path in (root / "weights" / "ab.h5", *(run.folder.model / name for name in MODEL_FILES)):
        write_whole(path, b"")
    open_backbone.cache_clear()

    with working_on("run", Item.parse("train")):
        root.rename(away)
        root.mkdir()
        try:
            read(run)
        finally:
            if comes_back:
                root.rmdir()
                away.rename(root)

    assert client.hget(KEYS.failed_attempts, "train").startswith(f"{HERE} says: ")
    assert [*root.parent.rglob("failed.json")] == []


def test_a_verdict_that_storage_does_not_take_is_a_failed_attempt(client, run):
    with working_on("run", Item.parse("train")):
        run.storage.root.rename(run.storage.root.with_name("away"))
        raise DatasetError("too few images")

    assert client.hgetall(KEYS.failed_attempts) == {"train": f"{HERE} says: too few images"}
    assert not run.storage.root.exists()


def test_a_worker_whose_storage_is_unmounted_says_so(client, run):
    run.storage.root.rename(run.storage.root.with_name("away"))

    with pytest.raises(NoStorageError):
        compute_batch("run", 0)

    reason = client.hget(KEYS.failed_attempts, "0")
    assert reason.startswith(f"{HERE} says: The storage {run.storage.root} is not there")
    assert not run.storage.root.exists()


def test_a_worker_that_cannot_read_the_plan_says_so(client, run):
    run.folder.plan.write_text("{}")

    with pytest.raises(RunError):
        compute_batch("run", 0)

    assert "is damaged" in client.hget(KEYS.failed_attempts, "0")


@pytest.mark.parametrize("number", [3, -1])
def test_a_message_for_a_batch_that_does_not_exist_does_not_end_the_run(client, run, number):
    with contextlib.suppress(RunError):
        compute_batch("run", number)

    assert not run.folder.failure.exists()


def test_a_storage_that_refuses_is_a_trouble_and_no_end_of_the_run(client, ready_storage, run):
    ready_storage.bottlenecks(BACKBONE_ID).parent.mkdir()
    (ready_storage.root / "full").write_bytes(b"")
    blocked = shard_of(ready_storage, run, 0).parent
    blocked.parent.mkdir(parents=True)
    blocked.symlink_to(ready_storage.root / "gone" / "away")

    compute_batch("run", 0)

    assert "Cannot write" in client.hget(KEYS.failed_attempts, "0")
    assert not client.exists(KEYS.done, KEYS.starts)
    assert not run.folder.failure.exists()


GONE = "cannot be opened: No such file or directory"
OTHER = "beta:77"
HANGS = "hangs: gave no result within 60 s"


def note_of(run, batch=0):
    return read_unreachable(run.folder, batch)


def attempt(client, batch=0):
    """Work on a batch and return why the attempt failed; None if it did not."""
    client.delete(KEYS.failed_attempts)
    compute_batch("run", batch)
    return client.hget(KEYS.failed_attempts, str(batch))


def test_an_image_that_cannot_be_opened_is_left_to_another_worker(
    client, ready_storage, run, photos, monkeypatch
):
    away = (photos / "blue/003.jpg").rename(photos / "away")
    client.set(f"poets:worker:bottleneck:{OTHER}", 1)

    for _ in range(5):
        reason = attempt(client)

    assert reason == (
        f"{HERE} says: 1 of 8 images cannot be read as planned, such as 'blue/003.jpg' ({GONE}); "
        "another worker is to try them."
    )
    assert not shard_of(ready_storage, run, 0).exists()
    assert note_of(run).images == {"blue/003.jpg": GONE}

    # The other one sees it, and computes nothing else.
    away.rename(photos / "blue/003.jpg")
    computed = record_computed(monkeypatch)
    monkeypatch.setattr(task_frame, "name_worker", lambda pid: OTHER)
    assert attempt(client) is None

    assert [path.rpartition("/")[2] for path in computed] == ["003.jpg"]
    assert read_shard(shard_of(ready_storage, run, 0)).errors == [None] * 8
    assert note_of(run) == Unreachable()


def record_computed(monkeypatch):
    computed: list[str] = []

    def record(images, *rest):
        computed.extend(image.path for image in images)
        return compute_results(images, *rest)

    monkeypatch.setattr(task_frame, "compute_results", record)
    return computed


def test_what_two_workers_cannot_open_is_a_row_that_names_both_machines(
    client, ready_storage, run, photos, monkeypatch
):
    (photos / "blue/003.jpg").unlink()
    client.set(f"poets:worker:bottleneck:{OTHER}", 1)
    attempt(client)
    # The other one misses another image, which the first could open.
    (photos / "blue/004.jpg").unlink()
    monkeypatch.setattr(task_frame, "name_worker", lambda pid: OTHER)

    assert attempt(client) is None

    errors = read_shard(shard_of(ready_storage, run, 0)).errors
    assert errors[3] == f"{GONE} (seen on {socket.gethostname()}, beta)"
    assert errors[4] is None
    assert note_of(run).images == {"blue/003.jpg": GONE}


def test_a_worker_without_others_believes_its_third_look(client, ready_storage, run, photos):
    (photos / "blue/003.jpg").unlink()

    assert [attempt(client) is None for _ in range(3)] == [False, False, True]
    assert read_shard(shard_of(ready_storage, run, 0)).errors[3].startswith(GONE)


def test_the_only_worker_of_an_embedded_stack_does_not_wait(
    client, ready_storage, run, photos, monkeypatch
):
    (photos / "blue/003.jpg").unlink()
    monkeypatch.setenv(ONLY_WORKER, "1")

    assert attempt(client) is None
    # A second delivery changes nothing.
    before = shard_of(ready_storage, run, 0).read_bytes()
    assert attempt(client) is None
    assert shard_of(ready_storage, run, 0).read_bytes() == before


def test_an_image_that_hangs_is_a_row_when_it_hangs_for_two_workers(
    poison, impatience, client, ready_storage, photos, monkeypatch
):
    (photos / "blue/003.jpg").rename(photos / "blue/003_hangs.jpg")
    run = make_run(ready_storage, photos)
    client.set(f"poets:worker:bottleneck:{OTHER}", 1)
    client.hset(KEYS.starts, "0", 1)

    reason = attempt(client)

    assert reason == f"{HERE} says: An image {HANGS}; another worker is to try it."
    assert not shard_of(ready_storage, run, 0).exists()

    monkeypatch.setattr(task_frame, "name_worker", lambda pid: OTHER)
    client.hset(KEYS.starts, "0", 1)
    assert attempt(client) is None
    assert read_shard(shard_of(ready_storage, run, 0)).errors[3] == HANGS
    assert not list(run.folder.unreachable.iterdir())


def test_workers_of_other_queues_do_not_count(client, ready_storage, run, photos, monkeypatch):
    (photos / "blue/003.jpg").unlink()
    monkeypatch.setenv(ONLY_WORKER, "1")
    client.set(f"poets:worker:train:{OTHER}", 1)

    assert attempt(client) is None


def test_a_worker_that_sees_nothing_counts_its_failures_and_one_with_a_gap_does_not(
    client, ready_storage, run, photos
):
    (photos / "blue/003.jpg").unlink()
    client.set(f"poets:worker:bottleneck:{OTHER}", 1)
    attempt(client)
    assert task_frame._failures == []

    attempt(client)
    assert len(task_frame._failures) == 1

    for number in range(12):
        (photos / f"red/{number:03d}.jpg").unlink()
    attempt(client, 2)
    assert len(task_frame._failures) == 2


def test_a_trouble_that_is_over_is_forgotten(client, run):
    client.hset(KEYS.failed_attempts, "0", "storage full")

    compute_batch("run", 0)

    assert not client.exists(KEYS.failed_attempts)


@pytest.mark.parametrize("kind", task_frame._FINAL_ERRORS)
def test_an_error_that_comes_again_ends_the_run_with_its_reason(client, run, kind):
    with working_on("run", Item.parse("train")):
        raise kind("this cannot go on")

    assert json.loads(run.folder.failure.read_bytes()) == {
        "item": "train",
        "reason": "this cannot go on",
    }
    assert not client.exists(KEYS.failed_attempts, KEYS.starts)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(StorageError, f"{HERE} says: try again"), (LeaseLostError, "try again")],
)
def test_other_errors_of_ours_are_left_to_the_reconciler(client, run, kind, said):
    with working_on("run", Item.parse("train")):
        raise kind("try again")

    assert client.hgetall(KEYS.failed_attempts) == {"train": said}
    assert not run.folder.failure.exists()


def test_a_mistake_of_ours_is_reported_counted_and_raised(client, run):
    with pytest.raises(ZeroDivisionError), working_on("run", Item.parse("0")):
        raise ZeroDivisionError("oh")

    assert client.hgetall(KEYS.failed_attempts) == {"0": f"{HERE} says: ZeroDivisionError: oh"}
    assert client.hgetall(KEYS.starts) == {"0": "1"}
    assert not run.folder.failure.exists()


@pytest.mark.parametrize(
    "task", [partial(compute_batch, "run", 0), partial(convert_backbone, "run")]
)
def test_a_worker_of_another_version_computes_nothing(client, run, storage, monkeypatch, task):
    """What it computed would stay in the cache for good."""
    monkeypatch.setattr(table, "PIXELS_VERSION", 99)
    open_backbone.cache_clear()

    task()

    [reason] = client.hgetall(KEYS.failed_attempts).values()
    assert reason.startswith(f"{HERE} says: poets ")
    assert "prepares images" in reason
    assert not run.folder.failure.exists()
    assert list(storage.root.glob("bottlenecks/*/*/*")) == []


def test_a_manifest_that_was_damaged_ends_the_run(client, run):
    run.folder.manifest.write_bytes(b"PAR1 damaged PAR1")

    compute_batch("run", 0)

    assert "manifest" in json.loads(run.folder.failure.read_bytes())["reason"]


def test_a_broker_that_is_away_does_not_stop_a_batch(ready_storage, photos, monkeypatch, tmp_path):
    monkeypatch.setenv("POETS_DEVICE", "cpu")
    monkeypatch.setenv("POETS_BROKER_URL", f"redis+socket://{tmp_path}/nobody?virtual_host=0")
    run = make_run(ready_storage, photos)

    compute_batch("run", 0)

    assert read_shard(shard_of(ready_storage, run, 0)).errors == [None] * 8


def test_a_run_is_trained_by_its_tasks(client, trained):
    assert load_model(trained.folder.model).card.labels == ("blue", "red")
    assert not client.exists(KEYS.failed_attempts, KEYS.starts, KEYS.lease("train"))


def test_a_trainer_that_finds_holes_reports_them(client, run):
    compute_batch("run", 0)

    train_head("run")

    assert "2 batches" in client.hget(KEYS.failed_attempts, "train")
    assert {path.name for path in run.folder.redo.iterdir()} == {"1", "2"}
    assert not run.folder.failure.exists()


def test_a_data_set_that_cannot_be_learnt_ends_the_run(client, ready_storage, photos):
    for picture in (photos / "red").iterdir():
        picture.write_bytes(b"broken")
    run = make_run(ready_storage, photos)
    for number in range(3):
        compute_batch("run", number)

    train_head("run")

    assert "'red'" in json.loads(run.folder.failure.read_bytes())["reason"]


def test_a_backbone_that_is_there_is_not_converted_again(client, ready_storage, run):
    before = (ready_storage.backbone(BACKBONE_ID) / "backbone.tflite").stat()

    convert_backbone("run")

    assert has_backbone(ready_storage, BACKBONE_ID)
    assert (ready_storage.backbone(BACKBONE_ID) / "backbone.tflite").stat() == before
    assert not client.exists(KEYS.failed_attempts, KEYS.done)


def test_weights_that_are_missing_end_the_run(client, storage, photos):
    run = make_run(storage, photos)
    other = name_backbone(find_spec(ARCHITECTURE), "0" * 64)
    plan = replace(run.plan, backbone_id=other, weights_digest="0" * 64)
    run.folder.plan.write_bytes(plan.to_json())

    convert_backbone("run")

    assert "Cannot read the weights" in json.loads(run.folder.failure.read_bytes())["reason"]


def test_a_job_labels_its_batches_as_classify_does(client, ready_storage, trained, tmp_path):
    pictures = make_data_set(tmp_path / "unknown", per_label=6, labels=("red", "blue"))
    make_picture(pictures / "a broken one.jpg", (1, 2, 3)).write_bytes(b"broken")
    job = plan_job(ready_storage, pictures, trained.folder.model)

    label_batch("job", 0)
    label_batch("job", 1)

    rows = [
        row for n in range(2) for row in pq.read_table(job.folder.prediction_shard(n)).to_pylist()
    ]
    paths = [str(pictures / row["path"]) for row in rows]
    assert len(rows) == 13
    for row, expected in zip(rows, classify_files(trained.folder.model, paths, 2), strict=True):
        assert row["error"] == expected.error
        assert row["status"] == ("failed" if expected.error else "ok")
        assert row["model"] == str(trained.folder.model)
        if not expected.error:
            found = [(row["label"], row["score"]), (row["label_2"], row["score_2"])]
            assert found == expected.ranked
            assert row["label"] == row["path"].split("/")[0]
    assert [row["error"] for row in rows if row["error"]] == [BROKEN]


def test_a_second_delivery_labels_nothing_again(client, ready_storage, trained, photos):
    job = plan_job(ready_storage, photos, trained.folder.model)
    label_batch("job", 0)
    before = job.folder.prediction_shard(0).stat()
    shutil.rmtree(job.folder.model)

    label_batch("job", 0)

    assert job.folder.prediction_shard(0).stat().st_ino == before.st_ino
    assert client.llen(Keys("job").done) == 2


def test_a_job_whose_model_is_damaged_ends_with_its_reason(client, ready_storage, trained, photos):
    job = plan_job(ready_storage, photos, trained.folder.model)
    (job.folder.model / "head.npz").write_bytes(b"damaged")

    label_batch("job", 0)

    assert "head" in json.loads(job.folder.failure.read_bytes())["reason"]
    assert not job.folder.prediction_shard(0).exists()


def test_a_training_run_has_nothing_to_label(client, ready_storage, run):
    label_batch("run", 0)

    assert not run.folder.predictions.exists()
    assert not shard_of(ready_storage, run, 0).exists()
