"""A batch gets its bottlenecks: what is known is read, only the rest is computed."""

import hashlib

import numpy as np
import pytest

from tests.builders.backbones import BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.runs import make_run, pretend
from workers.bottlenecks.batches import complete_batch, read_results
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import ImageResult, Request
from workers.errors import StorageError
from workers.images.loading import OpenImage
from workers.storage.manifest import read_batch, read_batches
from workers.storage.shards import read_shard

FAILED = "cannot be opened: Input/output error"


def fail_all(images):
    """Fail as a mount that has gone away does: the content is not to blame."""
    return [ImageResult(None, None, FAILED) for _ in images]


def never(images):
    raise AssertionError(f"{len(images)} images were computed again")


def complete(storage, run, compute=pretend, number=0):
    return complete_batch(run, read_batch(run.folder, number), compute)


def complete_run(storage, run, compute=pretend):
    for number in range(run.plan.batches):
        complete(storage, run, compute, number)


def shards_of(storage):
    return sorted(storage.bottlenecks(BACKBONE_ID).glob("*/*.arrow"))


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.digest, one.error) == (other.digest, other.error)
        assert np.array_equal(one.bottleneck, other.bottleneck)


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=4)


@pytest.fixture
def run(storage, photos):
    return make_run(storage, photos)


def test_a_second_delivery_computes_nothing(storage, run):
    first = complete(storage, run)
    second = complete(storage, run, never)

    assert_equal(second, first)


def test_results_have_the_order_of_the_batch(storage, run, photos):
    results = complete(storage, run)

    paths = [photos / image.path for image in read_batch(run.folder, 0).images]
    assert len(paths) == 8
    assert [result.digest for result in results] == [
        hashlib.sha256(path.read_bytes()).digest() for path in paths
    ]


def test_nothing_is_known_before_the_first_batch(storage, run):
    assert read_results(run, read_batch(run.folder, 0)) == [None] * 8


def test_failed_images_keep_their_place_and_reason(storage, run):
    def fail_two(images):
        for number, result in enumerate(pretend(images)):
            bad = number in (0, 5)
            yield ImageResult(None, result.digest, "empty file") if bad else result

    first = complete(storage, run, fail_two)
    second = complete(storage, run, never)

    assert [place for place, result in enumerate(second) if result.error] == [0, 5]
    assert second[5].error == "empty file"
    assert second[5].bottleneck is None
    assert_equal(
        [result for result in second if not result.error],
        [result for result in first if not result.error],
    )


def test_the_shard_of_a_batch_says_what_its_images_were(storage, run, photos):
    complete(storage, run)

    (path,) = shards_of(storage)
    shard = read_shard(path)
    images = read_batch(run.folder, 0).images
    assert path.stem == images[0].shard
    assert shard.uris == [f"{photos}/{image.path}" for image in images]
    assert shard.sizes == [image.size for image in images]
    assert shard.versions == [image.version for image in images]


def test_a_damaged_shard_is_set_aside_and_computed_again(storage, run):
    first = complete(storage, run)
    (path,) = shards_of(storage)
    content = path.read_bytes()
    path.write_bytes(content[:-100])

    second = complete(storage, run)

    assert_equal(second, first)
    assert path.read_bytes() == content
    assert path.with_suffix(".damaged").read_bytes() == content[:-100]


def test_a_missing_shard_is_computed_again(storage, run):
    first = complete(storage, run)
    shards_of(storage)[0].unlink()

    assert_equal(complete(storage, run), first)


def test_a_batch_that_is_whole_is_no_longer_marked(storage, run):
    run.folder.redo.mkdir()
    (run.folder.redo / "0").touch()

    complete(storage, run)

    assert not (run.folder.redo / "0").exists()


def test_a_new_run_reads_the_rows_of_an_old_one(storage, photos, run):
    first = complete(storage, run)
    again = make_run(storage, photos, "again", batch_size=3)

    results = [
        result
        for number in range(again.plan.batches)
        for result in complete(storage, again, never, number)
    ]

    assert_equal(results, first)
    assert len(shards_of(storage)) == 1


def test_only_what_is_new_is_computed(storage, photos, run):
    complete(storage, run)
    make_picture(photos / "blue" / "new.jpg", (0, 0, 99), seed=99)
    grown = make_run(storage, photos, "grown", batch_size=100)
    computed = []

    def note(images):
        computed.extend(path for path, *_ in images)
        return pretend(images)

    complete(storage, grown, note)
    results = complete(storage, grown, never)

    assert computed == [str(photos / "blue" / "new.jpg")]
    assert_equal(
        results,
        list(pretend([Request(str(photos / i.path)) for i in read_batch(grown.folder, 0).images])),
    )


def test_a_cached_row_that_was_lost_is_computed_again_by_the_run_that_needs_it(
    storage, photos, run
):
    first = complete(storage, run)
    again = make_run(storage, photos, "again")
    shards_of(storage)[0].unlink()

    results = complete(storage, again)

    assert_equal(results, first)
    assert_equal(complete(storage, again, never), first)


def test_a_cached_row_of_another_content_is_not_taken(storage, photos, run):
    first = complete(storage, run)
    again = make_run(storage, photos, "again")
    shards_of(storage)[0].unlink()
    (photos / "blue" / "000.jpg").unlink()
    other = make_run(storage, photos, "other")
    complete(storage, other)
    shards_of(storage)[0].rename(storage.shard(BACKBONE_ID, read_batch(run.folder, 0).own_shard))
    make_picture(photos / "blue" / "000.jpg", (30, 40, 220), seed=0)

    results = complete(storage, again)

    assert_equal(results, first)


def test_two_losses_one_after_the_other_are_both_made_good(storage, photos):
    complete_run(storage, make_run(storage, photos, "first", batch_size=4))
    again = make_run(storage, photos, "again", batch_size=100)
    one, other = shards_of(storage)
    one.unlink()
    complete(storage, again)
    other.unlink()

    results = complete(storage, again)

    assert_equal(complete(storage, again, never), results)


@pytest.mark.parametrize("way", ["gone", "an empty mount point"])
def test_a_mount_that_has_vanished_is_nobodys_image(storage, run, photos, way):
    photos.rename(photos.with_name("elsewhere"))
    if way != "gone":
        photos.mkdir()

    with pytest.raises(StorageError, match="gone or empty"):
        complete(storage, run, fail_all)

    assert shards_of(storage) == []


def test_the_rows_of_a_result_do_not_keep_their_shards_in_memory(storage, photos, run):
    complete(storage, run)
    again = make_run(storage, photos, "again")

    results = read_results(again, read_batch(again.folder, 0))

    assert all(result.bottleneck.base is None for result in results)


def test_a_failure_that_may_not_repeat_is_tried_again_by_the_next_run(storage, photos, run):
    complete(storage, run, fail_all)
    again = make_run(storage, photos, "again")

    results = complete(storage, again)

    assert [result.error for result in results] == [None] * 8


def test_a_storage_that_cannot_be_read_is_no_damaged_shard(storage, run):
    storage.bottlenecks(BACKBONE_ID).parent.mkdir()
    storage.bottlenecks(BACKBONE_ID).touch()

    with pytest.raises(StorageError):
        complete(storage, run)


def test_a_storage_that_cannot_be_written_is_nobodys_image(storage, run):
    def fill_the_way(images):
        storage.bottlenecks(BACKBONE_ID).parent.mkdir()
        storage.bottlenecks(BACKBONE_ID).touch()
        return pretend(images)

    with pytest.raises(StorageError):
        complete(storage, run, fill_the_way)


class Darkest:
    """A backbone whose bottleneck is the least red, green and blue."""

    input_size, bottleneck_size, chunk = (8, 8), 3, 4

    def __init__(self):
        self.sizes = []

    def compute(self, pixels):
        self.sizes.append(len(pixels))
        return pixels.min(axis=(1, 2)).astype(np.float32)


def test_a_broken_image_gets_its_reason_and_the_others_their_own_bottlenecks(tmp_path):
    paths = [
        str(make_picture(tmp_path / f"{n}.jpg", (20 * n, 99, 255 - 20 * n), n)) for n in range(10)
    ]
    for broken in (1, 3, 4, 5, 6, 7):
        with open(paths[broken], "wb") as file:
            file.write(b"broken")
    backbone, beats = Darkest(), []

    results = list(
        compute_results([Request(path) for path in paths], backbone, lambda: beats.append(1))
    )

    for place, (path, result) in enumerate(zip(paths, results, strict=True)):
        if place in (1, 3, 4, 5, 6, 7):
            assert result.error == "not an image: no known format"
            assert result.digest == hashlib.sha256(b"broken").digest()
        else:
            pixels = OpenImage(path, (8, 8)).cut()
            assert np.array_equal(result.bottleneck, pixels.min(axis=(0, 1)))
    assert len(beats) == 10
    assert max(backbone.sizes) <= backbone.chunk


def test_a_failure_of_the_file_is_not_remembered_under_any_content(tmp_path):
    (result,) = compute_results([Request(str(tmp_path / "gone.jpg"))], Darkest(), lambda: None)

    assert result.digest is None
    assert result.error.startswith("cannot be opened")


def test_every_batch_of_a_run_can_be_completed_in_any_order(storage, photos):
    run = make_run(storage, photos, batch_size=3)

    for number in (2, 0, 1):
        complete(storage, run, number=number)

    assert all(None not in read_results(run, batch) for batch in read_batches(run.folder))
