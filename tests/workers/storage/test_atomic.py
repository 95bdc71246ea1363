"""Files are written whole or not at all."""

import threading

import pytest

from workers.errors import StorageError
from workers.storage.atomic import create_once, storage_errors, write_whole

WRITERS = [write_whole, create_once]


def break_off(path):
    path.write_bytes(b"half of the con")
    raise ZeroDivisionError


def run_out_of_space(path):
    path.write_bytes(b"half of the con")
    raise OSError(28, "No space left on device")


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("content", [b"", b"content", lambda path: path.write_bytes(b"content")])
def test_a_file_is_written_with_the_folders_above_it(tmp_path, write, content):
    write(tmp_path / "a" / "b" / "file", content)

    assert (tmp_path / "a" / "b" / "file").read_bytes() == (content and b"content")
    assert names_in(tmp_path / "a" / "b") == ["file"]


def test_a_file_is_replaced(tmp_path):
    write_whole(tmp_path / "file", b"old and longer")
    write_whole(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("writer", "error"), [(break_off, ZeroDivisionError), (run_out_of_space, StorageError)]
)
def test_a_writer_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, writer, error):
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(error):
        write_whole(tmp_path / "file", writer)

    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("writer", "error"), [(break_off, ZeroDivisionError), (run_out_of_space, StorageError)]
)
def test_a_writer_that_fails_creates_nothing(tmp_path, write, writer, error):
    with pytest.raises(error):
        write(tmp_path / "file", writer)

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_that_is_a_file_is_the_fault_of_the_storage(tmp_path, write):
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match=r"Cannot write .*Check that the storage"):
        write(tmp_path / "file" / "inside", b"content")


def test_a_folder_in_the_place_of_the_file_is_the_fault_of_the_storage(tmp_path):
    (tmp_path / "taken" / "full").mkdir(parents=True)

    with pytest.raises(StorageError):
        write_whole(tmp_path / "taken", b"content")

    assert names_in(tmp_path) == ["taken"]


def test_what_exists_is_not_created_again(tmp_path):
    assert create_once(tmp_path / "file", b"first")
    assert not create_once(tmp_path / "file", b"second")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert names_in(tmp_path) == ["file"]


def test_of_many_that_create_at_once_one_does(tmp_path):
    start, created = threading.Barrier(8), []

    def create(number):
        start.wait()
        if create_once(tmp_path / "file", f"number {number}".encode()):
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(created) == 1
    assert (tmp_path / "file").read_text() == f"number {created[0]}"
    assert names_in(tmp_path) == ["file"]


def test_readers_never_see_half_a_file(tmp_path):
    path, stop, seen = tmp_path / "file", threading.Event(), set()
    write_whole(path, b"a" * 50_000)

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for letter in b"bcd" * 10:
        write_whole(path, bytes([letter]) * 50_000)
    stop.set()
    reader.join()

    assert seen <= {bytes([letter]) * 50_000 for letter in b"abcd"}


def test_the_reason_of_the_storage_is_told():
    with (
        pytest.raises(StorageError, match="Cannot do it: No space left on device"),
        storage_errors("do it"),
    ):
        raise OSError(28, "something of Arrow's own")


def test_a_reason_without_a_number_is_told_in_its_own_words():
    with pytest.raises(StorageError, match="Cannot do it: odd"), storage_errors("do it"):
        raise OSError("odd")
