"""A batch that is given up is done for good, and costs no image that is known."""

import pytest

from orchestrator.driving.done_batches import Stored
from tests.builders.backbones import BACKBONE_ID
from tests.builders.datasets import make_data_set
from tests.builders.pictures import make_picture
from tests.builders.runs import make_run, pretend, pretend_run
from workers.bottlenecks.batches import complete_batch, read_results
from workers.storage.atomic import write_whole
from workers.storage.manifest import read_batch

REASON = "the batch ended its worker 5 times"


def give_up(storage, run, number=0):
    Stored.read(run).give_up(number, REASON)


def errors(storage, run, number=0):
    results = read_results(run, read_batch(run.folder, number))
    return [result and result.error for result in results]


def is_done(storage, run, number=0):
    return number in Stored.read(run).done


@pytest.fixture
def photos(tmp_path):
    return make_data_set(tmp_path / "photos", per_label=4)


def test_every_image_of_a_new_batch_gets_the_reason(storage, photos):
    run = make_run(storage, photos)

    give_up(storage, run)

    assert errors(storage, run) == [REASON] * 8
    assert is_done(storage, run)


def test_a_cached_batch_whose_shard_was_lost_is_done_and_not_asked_for_again(storage, photos):
    pretend_run(make_run(storage, photos, "first"))
    run = make_run(storage, photos, "second")
    for shard in storage.bottlenecks(BACKBONE_ID).glob("*/*.arrow"):
        shard.unlink()
    write_whole(run.folder.redo / "0", b"")

    give_up(storage, run)

    assert errors(storage, run) == [REASON] * 8
    assert is_done(storage, run)


def test_rows_that_were_computed_before_are_kept(storage, photos):
    run = make_run(storage, photos)
    complete_batch(run, read_batch(run.folder, 0), pretend)
    write_whole(run.folder.redo / "0", b"")

    give_up(storage, run)

    assert errors(storage, run) == [None] * 8
    assert is_done(storage, run)


def test_cached_images_do_not_fail_with_their_new_neighbours(storage, photos):
    pretend_run(make_run(storage, photos, "first"))
    make_picture(photos / "red" / "new.jpg", (200, 10, 10), 5000)
    run = make_run(storage, photos, "second", batch_size=100)

    give_up(storage, run)

    assert errors(storage, run) == [None] * 8 + [REASON]
