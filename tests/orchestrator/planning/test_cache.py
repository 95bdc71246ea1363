"""The index of the cache: small, and never wrong."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.dataset.scan import FoundImage
from orchestrator.planning.cache import CacheIndex
from workers.storage.shards import _INDEX, Shard, read_shard, write_shard

SIZE, VERSION = 5, 1_700_000_000_000_000_000


@pytest.fixture
def photos(tmp_path):
    """Six files of the same size; their content is their number."""
    return make_photos(tmp_path / "photos", range(6))


def make_photos(folder, numbers, later_ns=0):
    folder.mkdir()
    for number in numbers:
        path = folder / f"{number}.jpg"
        path.write_bytes(content(number))
        os.utime(path, ns=(0, VERSION + number + later_ns))
    return folder


def content(number):
    return f"{number}".zfill(SIZE).encode()


def digest(number):
    return hashlib.sha256(content(number)).digest()


def image(number):
    return FoundImage(f"{number}.jpg", SIZE, VERSION + number, None)


def write(storage, name, root, numbers, unsettled=(), failed=()):
    shard = Shard(
        uris=[f"{root}/{number}.jpg" for number in numbers],
        sizes=[SIZE] * len(numbers),
        versions=[VERSION + number for number in numbers],
        digests=[None if number in unsettled else digest(number) for number in numbers],
        bottlenecks=np.zeros((len(numbers), 4), np.float32),
        errors=["bad" if number in {*unsettled, *failed} else None for number in numbers],
    )
    path = storage.shard("b", name)
    write_shard(path, shard)
    return path


@pytest.fixture(params=["hashes", "hashes that are all the same"])
def hashes(request, monkeypatch):
    if request.param != "hashes":
        monkeypatch.setattr("orchestrator.planning.cache._hash", lambda _: 7)
        monkeypatch.setattr("orchestrator.planning.cache._head", lambda _: 7)


@pytest.mark.usefixtures("hashes")
def test_each_image_is_found_by_its_place_and_no_other(storage, photos):
    write(storage, "aa", photos, [0, 1, 2])
    write(storage, "bb", photos, [4, 3])

    index = CacheIndex(storage, "b")

    found = [index.find(str(photos), image(number)) for number in range(6)]
    assert [(known.shard, known.row) for known in found[:5]] == [
        ("aa", 0),
        ("aa", 1),
        ("aa", 2),
        ("bb", 1),
        ("bb", 0),
    ]
    assert [known.digest for known in found[:5]] == [digest(number) for number in range(5)]
    assert found[5] is None


@pytest.mark.usefixtures("hashes")
def test_a_moved_image_is_found_by_its_content(storage, photos):
    write(storage, "aa", "/before", [0, 1, 2])

    index = CacheIndex(storage, "b")

    assert index.find(str(photos), image(1)).row == 1
    # Its size and time are known, its content is another.
    (photos / "2.jpg").write_bytes(b"other")
    os.utime(photos / "2.jpg", ns=(0, VERSION + 2))
    assert index.find(str(photos), image(2)) is None


@pytest.mark.usefixtures("hashes")
def test_a_copied_or_touched_image_is_found_by_its_content(storage, tmp_path):
    copied = make_photos(tmp_path / "copied", range(4), later_ns=5)
    (copied / "3.jpg").write_bytes(b"other")
    os.utime(copied / "3.jpg", ns=(0, VERSION + 3 + 5))
    (copied / "9.jpg").write_bytes(b"of another size")
    write(storage, "aa", "/original", [0, 1])
    write(storage, "bb", copied, [2, 3])

    index = CacheIndex(storage, "b")

    assert [
        known and (known.shard, known.row, known.digest)
        for known in (index.find(str(copied), later(number)) for number in range(4))
    ] == [("aa", 0, digest(0)), ("aa", 1, digest(1)), ("bb", 0, digest(2)), None]


def later(number):
    return replace(image(number), version=VERSION + number + 5)


@pytest.mark.usefixtures("hashes")
@pytest.mark.parametrize("in_one_file", [1, 2, 4096])
def test_what_was_hashed_is_not_read_again(storage, photos, monkeypatch, in_one_file):
    monkeypatch.setattr("orchestrator.planning.hashed_files._MOST_ROWS", in_one_file)
    write(storage, "aa", "/original", [0, 1, 2], failed=[1])
    first = CacheIndex(storage, "b")
    expected = [first.find(str(photos), image(number)) for number in range(4)]
    first.save_hashed()

    (photos / "0.jpg").unlink()
    (photos / "1.jpg").unlink()
    second = CacheIndex(storage, "b")

    assert [second.find(str(photos), image(number)) for number in range(4)] == expected
    assert [known.row for known in expected[:3]] == [0, 1, 2]
    assert expected[3] is None
    # Of another time, it is another file.
    assert second.find(str(photos), later(0)) is None
    # A failure that is to be tried again is none that is known.
    assert CacheIndex(storage, "b", with_failures=False).find(str(photos), image(1)) is None
    # Another backbone has no bottleneck of them.
    assert CacheIndex(storage, "c").find(str(photos), image(0)) is None


def test_an_image_that_could_not_be_read_before_is_left_to_a_worker(storage, photos):
    write(storage, "aa", "/original", [0, 1])
    write(storage, "bb", photos, [0], unsettled=[0])
    index = CacheIndex(storage, "b")

    assert index.find(str(photos), image(0)) is None
    assert index.find(str(photos), image(1)).row == 1


def test_a_file_that_changed_after_the_search_is_not_known(storage, photos):
    write(storage, "aa", "/original", [0, 1])
    index = CacheIndex(storage, "b")
    (photos / "1.jpg").write_bytes(content(0))

    assert index.find(str(photos), image(1)) is None
    index.save_hashed()
    assert not storage.digests.exists()


def test_what_an_earlier_version_may_have_read_wrongly_is_read_once_more(
    storage, photos, monkeypatch
):
    for number in range(2):
        (photos / f"{number}.jpg").rename(photos / f"{number}.TIF")
    odd = [replace(image(number), path=f"{number}.TIF") for number in range(2)]
    with monkeypatch.context() as earlier:
        earlier.setattr("workers.storage.shards._INDEX", pa.schema(list(_INDEX)[:-1]))
        path = write(storage, "aa", photos, range(4), failed=[3])
        shard = read_shard(path)
        uris = [f"{photos}/0.TIF", rf"{photos}/1.TIF\?flip seed=0 #1", *shard.uris[2:]]
        write_shard(path, replace(shard, uris=uris))

    index = CacheIndex(storage, "b")

    assert [index.find(str(photos), one) for one in odd] == [None, None]
    assert index.find_content(digest(1)) is None
    assert index.find(str(photos), image(2)).row == 2
    assert index.find(str(photos), image(3)) is None
    # Nor is it taken for the result of a run over the same images.
    assert index.unsettled == {"aa"}
    # Today's version has read them.
    write_shard(path, replace(shard, uris=uris, warnings=[None] * 4))
    assert CacheIndex(storage, "b").find(str(photos), odd[0]).row == 0


def test_files_whose_digests_are_damaged_are_hashed_again(storage, photos):
    write(storage, "aa", "/original", [0])
    first = CacheIndex(storage, "b")
    first.find(str(photos), image(0))
    first.save_hashed()
    (saved,) = storage.digests.iterdir()
    saved.write_bytes(saved.read_bytes()[:-1])

    assert CacheIndex(storage, "b").find(str(photos), image(0)).shard == "aa"


@pytest.mark.usefixtures("hashes")
def test_a_replaced_image_is_new_work(storage, photos):
    write(storage, "aa", photos, [0, 1])
    (photos / "0.jpg").write_bytes(b"newer")

    index = CacheIndex(storage, "b")

    assert index.find(str(photos), replace(image(0), version=VERSION + 99)) is None


def test_failures_that_may_not_repeat_are_not_known(storage, photos):
    write(storage, "aa", photos, [0, 1], unsettled=[0])

    index = CacheIndex(storage, "b")

    assert index.unsettled == {"aa"}
    assert index.find(str(photos), image(0)) is None
    assert index.find(str(photos), image(1)).row == 1


@pytest.mark.parametrize("harm", ["gone", "damaged"])
def test_a_shard_that_is_lost_after_it_was_indexed_gives_no_answer(storage, photos, harm):
    path = write(storage, "aa", photos, [0, 1])
    index = CacheIndex(storage, "b")
    path.unlink()
    if harm == "damaged":
        path.write_bytes(b"damaged")

    assert index.find(str(photos), image(0)) is None


def test_an_empty_cache_knows_nothing(storage, photos):
    assert CacheIndex(storage, "b").find(str(photos), image(0)) is None


def test_the_index_takes_at_most_40_bytes_an_image(storage, photos):
    write(storage, "aa", photos, range(1000))

    index = CacheIndex(storage, "b")

    arrays = [index._sizes, *index._by_uri, *index._by_digest]
    assert 32 * 1000 < sum(array.nbytes for array in arrays) <= 40 * 1000


@pytest.mark.usefixtures("hashes")
@pytest.mark.parametrize("names", [("aa", "zz"), ("zz", "aa")])
def test_a_bottleneck_is_found_rather_than_a_failure_of_the_same_file(storage, photos, names):
    write(storage, names[0], photos, [0, 1])
    write(storage, names[1], photos, [0, 2], failed=[0, 2])
    index = CacheIndex(storage, "b")

    assert index.find(str(photos), image(0)).shard == names[0]
    assert index.find_content(digest(0)).shard == names[0]
    # A failure that comes with the content is known, where there is nothing better.
    assert index.find(str(photos), image(2)).shard == names[1]
    assert index.unsettled == set()


def test_where_failures_are_tried_again_none_is_known(storage, photos):
    write(storage, "aa", photos, [0, 1])
    write(storage, "bb", photos, [1, 2], failed=[2])
    index = CacheIndex(storage, "b", with_failures=False)

    assert index.find(str(photos), image(2)) is None
    assert index.find(str(photos), image(1)) is not None
    assert index.unsettled == {"bb"}
