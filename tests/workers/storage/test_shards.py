"""Bottleneck shards: what is written is read, and damage never goes unnoticed."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import ShardError, StorageError
from workers.storage.shards import (
    _INDEX,
    Shard,
    has_warnings,
    name_shard,
    read_shard,
    read_shard_index,
    write_shard,
)


def make_shard(count: int = 3, width: int = 4) -> Shard:
    """Return a shard whose second image failed."""
    failed = [row == 1 for row in range(count)]
    bottlenecks = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    bottlenecks[failed] = 0
    return Shard(
        uris=[f"/photos/\\xff {row} 雛菊.jpg" for row in range(count)],
        sizes=[100 + row for row in range(count)],
        versions=[2**60 + row for row in range(count)],
        digests=[None if bad else bytes([row % 251]) * 32 for row, bad in enumerate(failed)],
        bottlenecks=bottlenecks,
        errors=["empty file" if bad else None for bad in failed],
        warnings=["damaged: 雛菊" if row == 0 else None for row in range(count)],
    )


def assert_same(found: Shard, expected: Shard) -> None:
    for name in ("uris", "sizes", "versions", "digests", "errors", "warnings"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.bottlenecks.dtype == np.float32
    assert np.array_equal(found.bottlenecks, expected.bottlenecks)


@pytest.mark.parametrize("count", [1, 2, 500])
def test_a_shard_is_read_as_it_was_written(tmp_path, count):
    write_shard(tmp_path / "a.arrow", make_shard(count, width=256))

    assert_same(read_shard(tmp_path / "a.arrow"), make_shard(count, width=256))


def test_a_shard_of_an_earlier_version_has_no_warnings(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.storage.shards._INDEX", pa.schema(list(_INDEX)[:-1]))
    write_shard(tmp_path / "a.arrow", make_shard())

    found = read_shard(tmp_path / "a.arrow")

    assert found.warnings is None
    assert found.uris == make_shard().uris
    assert not has_warnings(read_shard_index(tmp_path / "a.arrow"))


def test_a_shard_says_which_version_computed_it_and_older_ones_say_nothing(tmp_path):
    write_shard(tmp_path / "old.arrow", make_shard())
    write_shard(tmp_path / "new.arrow", replace(make_shard(), poets="7.5"))

    assert read_shard(tmp_path / "old.arrow").poets == ""
    assert read_shard(tmp_path / "new.arrow").poets == "7.5"
    assert_same(read_shard(tmp_path / "new.arrow"), make_shard())


def test_numbers_keep_every_bit(tmp_path):
    shard = make_shard(2, 4)
    shard.bottlenecks[:] = [[np.nan, np.inf, -np.inf, -0.0], [1e-45, 3.4e38, 0.1, -1e-38]]
    write_shard(tmp_path / "a.arrow", shard)

    found = read_shard(tmp_path / "a.arrow")

    assert found.bottlenecks.tobytes() == shard.bottlenecks.tobytes()


def test_a_shard_replaces_the_one_before_and_leaves_nothing_else(tmp_path):
    write_shard(tmp_path / "a.arrow", make_shard(2))
    write_shard(tmp_path / "a.arrow", make_shard(5))

    assert_same(read_shard(tmp_path / "a.arrow"), make_shard(5))
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrow"]


def test_the_index_has_all_but_the_numbers(tmp_path):
    shard = make_shard()
    write_shard(tmp_path / "a.arrow", shard)

    index = read_shard_index(tmp_path / "a.arrow")

    assert index.column_names == ["uri", "size", "version", "digest", "error", "warning"]
    assert index.column("uri").to_pylist() == shard.uris
    assert index.column("digest").to_pylist() == shard.digests
    assert index.column("error").to_pylist() == shard.errors


@pytest.mark.parametrize("read", [read_shard, read_shard_index])
def test_a_missing_shard_is_told_from_a_damaged_one(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone.arrow")


@pytest.mark.parametrize("read", [read_shard, read_shard_index])
@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"no shard at all" * 50])
def test_a_file_that_is_no_shard_is_refused(tmp_path, read, content):
    (tmp_path / "a.arrow").write_bytes(content)

    with pytest.raises(ShardError, match="is damaged"):
        read(tmp_path / "a.arrow")


@pytest.mark.parametrize("read", [read_shard, read_shard_index])
def test_an_arrow_file_that_poets_did_not_write_is_refused(tmp_path, read):
    table = pa.table({"uri": ["/a.jpg"]})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as out,
    ):
        out.write_table(table)

    with pytest.raises(ShardError, match="not that of a shard"):
        read(tmp_path / "a.arrow")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("shard") / "a.arrow"
    write_shard(path, make_shard())
    return path.read_bytes()


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_shard_that_was_cut_off_is_refused(whole, tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "a.arrow"
    path.write_bytes(whole[: int(share * len(whole))])

    for read in (read_shard, read_shard_index):
        with pytest.raises(ShardError):
            read(path)


# Alters each byte of a shard in three ways. In a process of its own, because a reader that
# trusts a damaged shard can take the process with it.
ALTER_EVERY_BYTE = """
import sys
from pathlib import Path
from workers.errors import ShardError
from workers.storage.shards import read_shard, read_shard_index

def whole(path):
    shard = read_shard(path)
    columns = [shard.uris, shard.sizes, shard.versions, shard.digests, shard.errors]
    return columns, shard.bottlenecks.shape, shard.bottlenecks.tobytes()

read = {"whole": whole, "index": lambda path: read_shard_index(path).to_pylist()}[sys.argv[1]]
good, path = Path(sys.argv[2]), Path(sys.argv[3])
content, expected = good.read_bytes(), read(good)
for place in range(len(content)):
    for change in (1, 128, 255):
        print(end=f"{place}^{change} ", flush=True)
        altered = bytearray(content)
        altered[place] ^= change
        path.unlink(missing_ok=True)
        path.write_bytes(altered)
        try:
            if read(path) != expected:
                sys.exit("unnoticed")
        except ShardError:
            pass
print("all noticed")
"""


def alter_every_byte(tmp_path, content: bytes, what: str) -> str:
    (tmp_path / "good.arrow").write_bytes(content)
    paths = [str(tmp_path / "good.arrow"), str(tmp_path / "altered.arrow")]
    found = subprocess.run(
        [sys.executable, "-c", ALTER_EVERY_BYTE, what, *paths], capture_output=True, text=True
    )
    place = found.stdout[-20:].strip()
    return f"{place} exit code {found.returncode} {found.stderr.strip()[-200:]}"


def test_no_altered_byte_of_a_shard_goes_unnoticed(whole, tmp_path):
    outcome = alter_every_byte(tmp_path, whole, "whole")

    assert "all noticed exit code 0" in outcome


def test_no_altered_byte_of_an_index_goes_unnoticed(whole, tmp_path):
    outcome = alter_every_byte(tmp_path, whole, "index")

    assert "all noticed exit code 0" in outcome


def test_altered_numbers_are_noticed(tmp_path):
    shard = make_shard(50, 256)
    write_shard(tmp_path / "a.arrow", shard)
    content = bytearray((tmp_path / "a.arrow").read_bytes())
    content[content.index(shard.bottlenecks[30].tobytes()) + 2] ^= 1
    (tmp_path / "a.arrow").write_bytes(content)

    with pytest.raises(ShardError, match="checksum"):
        read_shard(tmp_path / "a.arrow")


def test_rows_and_bottlenecks_of_different_number_are_a_mistake(tmp_path):
    shard = make_shard(3)
    wrong = Shard(**{**vars(shard), "bottlenecks": shard.bottlenecks[:2]})

    with pytest.raises(ValueError):
        write_shard(tmp_path / "a.arrow", wrong)

    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_refuses_is_no_damaged_shard(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StorageError):
        write_shard(tmp_path / "file" / "a.arrow", make_shard())


IDENTITY = ("/a.jpg", 10, 20)


def test_the_name_of_a_shard_is_that_of_its_content():
    name = name_shard("backbone", [IDENTITY])

    assert name == name_shard("backbone", iter([IDENTITY]))
    assert len(name) == 32
    assert set(name) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("backbone_id", "identities"),
    [
        ("other", [IDENTITY]),
        ("backbone", [("/b.jpg", 10, 20)]),
        ("backbone", [("/a.jpg", 11, 20)]),
        ("backbone", [("/a.jpg", 10, 21)]),
        ("backbone", [("/a.jpg", 1, 20)]),
        ("backbone", [IDENTITY, IDENTITY]),
        ("backbone", []),
    ],
)
def test_the_name_of_a_shard_depends_on_each_part(backbone_id, identities):
    assert name_shard(backbone_id, identities) != name_shard("backbone", [IDENTITY])


def test_the_name_of_a_shard_depends_on_the_order():
    other = ("/b.jpg", 1, 2)

    assert name_shard("x", [IDENTITY, other]) != name_shard("x", [other, IDENTITY])
