"""A storage that cannot do what poets needs is refused at once, with the cause."""

import errno
import os
from pathlib import Path

import pytest

from tests.builders.programs import invoke
from workers.backbones import litert
from workers.errors import StorageError
from workers.storage.atomic import storage_errors, write_whole
from workers.storage.making import make_storage
from workers.storage.root import MARKER
from workers.storage.temporary import temporary_beside
from workers.storage.trial import try_storage

NEEDS_ANOTHER = r"Its file system cannot hold a storage\. Set POETS_STORAGE or --storage"


def refuse(number):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


# What a file system refuses: the function, the error, what is said of it, and what to do.
REFUSALS = {
    "no hard links": ("os.link", errno.EPERM, "second name", NEEDS_ANOTHER),
    "no hard links, said in another way": ("os.link", errno.ENOTSUP, "second name", NEEDS_ANOTHER),
    "no fsync": ("os.fsync", errno.EINVAL, "fsync", NEEDS_ANOTHER),
    "no replacing": ("pathlib.Path.replace", errno.EEXIST, "replace a file", NEEDS_ANOTHER),
    "no renaming": ("pathlib.Path.rename", errno.EPERM, "rename a folder", NEEDS_ANOTHER),
    "a full disk": ("pathlib.Path.write_bytes", errno.ENOSPC, "take a file", "Make room there"),
    "a quota": ("pathlib.Path.write_bytes", errno.EDQUOT, "take a file", "Your quota"),
    "read-only": ("os.mkdir", errno.EROFS, "be written", "mounted read-only: mount it for writing"),
    "another user's": ("os.mkdir", errno.EACCES, "be written", "Let this user write there"),
    "forbidden": ("os.mkdir", errno.EPERM, "be written", "does not allow it"),
    "a disk that breaks": ("os.fsync", errno.EIO, "fsync", "its disk or network"),
    "a broken disk": ("pathlib.Path.write_bytes", errno.EIO, "take a file", "its disk or network"),
}


@pytest.mark.parametrize(("name", "number", "what", "advice"), REFUSALS.values(), ids=REFUSALS)
def test_a_storage_is_refused_with_the_cause_and_what_to_do(
    tmp_path, monkeypatch, name, number, what, advice
):
    said = rf"cannot .*{what}.*: {os.strerror(number)}.*{advice}"

    with monkeypatch.context() as patch, pytest.raises(StorageError, match=said):
        patch.setattr(name, refuse(number))
        try_storage(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_short_names_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.storage.trial._LONG_NAME", "n" * 300)

    with pytest.raises(StorageError, match="File name too long"):
        make_storage(tmp_path)


def test_a_link_that_replaces_what_is_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", lambda old, new: Path(new).write_bytes(b""))

    with pytest.raises(StorageError, match="second name"):
        make_storage(tmp_path)


def test_a_folder_without_fsync_is_no_reason_to_refuse(storage, monkeypatch):
    fsync = os.fsync

    def sync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", sync)

    try_storage(storage.root)
    write_whole(storage.weights("ab"), b"content")


@pytest.mark.parametrize("name", ["runs", "bottlenecks", "bottlenecks/id", "backbones/id"])
def test_a_folder_of_somebody_else_is_named(storage, monkeypatch, name):
    folder = storage.root / name
    folder.mkdir(parents=True)
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: path != folder and access(path, mode))

    with pytest.raises(StorageError, match=rf"{folder} of the storage belongs to user .* group"):
        try_storage(storage.root)


def test_a_trial_leaves_nothing(storage):
    try_storage(storage.root)

    assert [path.name for path in storage.root.iterdir()] == [MARKER]


def test_a_command_refuses_before_any_work_and_doctor_says_the_same(tmp_path, monkeypatch):
    (tmp_path / "storage" / "runs").mkdir(parents=True)
    monkeypatch.setattr("os.link", refuse(errno.EPERM))

    for command in (("fetch-weights", "mobilenet_0.25_128"), ("up",), ("doctor",)):
        result = invoke(*command)
        assert result.exit_code == 1
        assert "second name (hard link): Operation not permitted. Its file system" in result.output


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EPERM, "does not allow it"),
        (errno.ENOSPC, "Make room"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.ESTALE, "its disk or network"),
    ],
)
def test_advice_fits_the_cause(number, advice):
    with pytest.raises(StorageError, match=advice) as caught, storage_errors("do it"):
        raise OSError(number, os.strerror(number))

    assert number == errno.ENOSPC or "room" not in str(caught.value) or number == errno.EDQUOT


def test_a_backbone_is_read_where_files_cannot_be_mapped(monkeypatch):
    from ai_edge_litert import interpreter

    from tests.builders.backbones import TINY_FILE

    real = interpreter.Interpreter

    def without_mmap(*, model_path=None, **options):
        if model_path:
            raise ValueError("Mmap of '3' at offset '0' failed with error '19'.")
        return real(**options)

    monkeypatch.setattr(interpreter, "Interpreter", without_mmap)

    assert litert.LiteRTBackbone(TINY_FILE).input_size == (128, 128)


def test_the_temporary_name_of_a_long_output_is_short():
    """A name may have 143 bytes on an encrypted folder; this one does, and its own fits."""
    longest = Path("雛" * 46 + ".csv")

    assert len(os.fsencode(temporary_beside(longest).name)) <= 143
