"""Only regular files are opened, and none is read beyond its limit."""

import os
import socket

import pytest

from workers.storage.regular_files import (
    NotRegularError,
    check_regular_file,
    open_regular_file,
    read_regular_file,
)

SECRET = b"secret"


@pytest.fixture
def file(tmp_path):
    (tmp_path / "file").write_bytes(SECRET)
    return tmp_path / "file"


def link(path, file):
    path.symlink_to(file)


def link_to_nothing(path, _):
    path.symlink_to("gone")


def circle(path, _):
    path.symlink_to(path)


def pipe(path, _):
    os.mkfifo(path)


def link_to_pipe(path, file):
    os.mkfifo(file.with_name("pipe"))
    path.symlink_to("pipe")


def folder(path, _):
    path.mkdir()


def device(path, _):
    path.symlink_to("/dev/zero")


ANYTHING_ELSE = [link, link_to_nothing, circle, pipe, link_to_pipe, folder, device]


@pytest.mark.parametrize("make", ANYTHING_ELSE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("read", [open_regular_file, read_regular_file, check_regular_file])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, file, make, read):
    make(tmp_path / "thing", file)

    with pytest.raises((NotRegularError, IsADirectoryError)):
        read(tmp_path / "thing")


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

        with pytest.raises(NotRegularError, match="not a regular file"):
            open_regular_file("socket")


@pytest.mark.parametrize("make", [pipe, link_to_pipe, folder, device], ids=lambda m: m.__name__)
def test_a_link_that_a_person_named_leads_to_regular_files_only(tmp_path, file, make):
    make(tmp_path / "thing", file)

    with pytest.raises((NotRegularError, IsADirectoryError)):
        read_regular_file(tmp_path / "thing", may_be_link=True)


def test_a_link_that_a_person_named_is_followed(tmp_path, file):
    link(tmp_path / "link", file)

    assert read_regular_file(tmp_path / "link", may_be_link=True) == SECRET


def test_a_file_that_is_not_there_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "gone")


def test_a_file_is_read_up_to_its_limit_and_not_beyond(file):
    assert read_regular_file(file, len(SECRET)) == SECRET
    with pytest.raises(NotRegularError, match="larger than 5 bytes"):
        read_regular_file(file, len(SECRET) - 1)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc")
def test_a_file_that_says_it_is_empty_is_read(tmp_path):
    """Those in /proc do; and a file may grow while it is read."""
    assert read_regular_file("/proc/self/status").startswith(b"Name:")
    with pytest.raises(NotRegularError, match="larger than 10 bytes"):
        read_regular_file("/proc/self/status", 10)
