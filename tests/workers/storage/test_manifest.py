"""The manifest: every image of a run, one row group a batch."""

import pyarrow.parquet as pq
import pytest

from workers.errors import RunError
from workers.storage.layout import RunFolder
from workers.storage.manifest import (
    PlannedImage,
    batch_sizes,
    count_split,
    own_shards,
    read_batch,
    read_batches,
    write_manifest,
)

NEW = PlannedImage("red/a 雛菊\n.jpg", 2**40, 2**60, "red", "training", "shard-of-batch")
CACHED = PlannedImage(r"red/\xff.jpg", 5, 6, None, None, "older-shard", 3, bytes(range(32)))
VARIANT = PlannedImage("red/b.jpg", 7, 8, "red", "training", "shard-of-batch", variant=3)
TESTING = PlannedImage("blue/b.jpg", 7, 8, "blue", "testing", "shard-of-batch")
BATCHES = [(NEW, CACHED), (TESTING,), (CACHED, NEW, VARIANT)]


@pytest.fixture
def run(tmp_path):
    write_manifest(tmp_path / "run" / "manifest.parquet", BATCHES)
    return RunFolder(tmp_path / "run")


def test_each_batch_is_a_row_group(run):
    metadata = pq.read_metadata(run.manifest)

    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [2, 1, 3]
    assert batch_sizes(run) == [2, 1, 3]


@pytest.mark.parametrize("number", range(3))
def test_a_batch_is_read_as_it_was_planned(run, number):
    batch = read_batch(run, number)

    assert batch.number == number
    assert batch.images == BATCHES[number]


def test_all_batches_are_read_in_order(run):
    assert [(batch.number, batch.images) for batch in read_batches(run)] == list(enumerate(BATCHES))


@pytest.mark.parametrize("number", [-1, 3, 10**6])
def test_a_batch_that_the_run_does_not_have_is_refused(run, number):
    with pytest.raises(RunError, match=f"has no batch {number}"):
        read_batch(run, number)


@pytest.mark.parametrize(
    ("split", "count"), [("training", 3), ("testing", 1), ("validation", 0), ("", 0)]
)
def test_the_images_of_a_split_are_counted(run, split, count):
    assert count_split(run, split) == count


def test_a_batch_knows_its_own_shard(run):
    assert [batch.own_shard for batch in read_batches(run)] == ["shard-of-batch"] * 3


def test_a_batch_that_is_wholly_cached_has_no_shard_of_its_own(tmp_path):
    write_manifest(tmp_path / "manifest.parquet", [(CACHED,), (CACHED, NEW)])

    assert read_batch(RunFolder(tmp_path), 0).own_shard is None
    assert own_shards(RunFolder(tmp_path)) == [None, "shard-of-batch"]


def test_only_images_with_a_row_are_cached():
    assert CACHED.is_cached
    assert not NEW.is_cached


READERS = [
    lambda run: read_batch(run, 0),
    lambda run: list(read_batches(run)),
    batch_sizes,
    own_shards,
    lambda run: count_split(run, "training"),
]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_manifest_is_refused(tmp_path, read):
    with pytest.raises(RunError, match="cannot be read"):
        read(RunFolder(tmp_path))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"PAR1 no manifest PAR1"])
def test_a_damaged_manifest_is_refused(run, read, content):
    run.manifest.write_bytes(content)

    with pytest.raises(RunError, match="cannot be read"):
        read(run)


@pytest.mark.parametrize("read", [READERS[0], READERS[1], READERS[3], READERS[4]])
def test_a_manifest_that_is_damaged_before_its_footer_is_refused(run, read):
    content = bytearray(run.manifest.read_bytes())
    footer = int.from_bytes(content[-8:-4], "little") + 8
    content[4:-footer] = bytes(255 - byte for byte in content[4:-footer])
    run.manifest.write_bytes(content)

    with pytest.raises(RunError):
        read(run)
