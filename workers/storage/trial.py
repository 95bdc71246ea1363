"""Try in a storage all that poets does in one, before anything depends on it."""

import contextlib
import errno
import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

from workers.errors import StorageError
from workers.storage.atomic import describe_refusal, sync_folder
from workers.storage.temporary import temporary_in

# As long as the longest name that poets itself makes: of TensorBoard's files, with that of a host.
_LONG_NAME = "n" * 120
_CONTENT = bytes(4096)
_OTHER_DISK = (
    "Its file system cannot hold a storage. Set POETS_STORAGE or --storage to a folder on one that "
    "can, such as ext4, XFS, APFS or NFS; photographs and results may stay where they are."
)


class _DifferentError(Exception):
    """Something was done, and not as poets needs it."""


def try_storage(root: Path) -> None:
    """Refuse a storage in which poets could not do its work; nothing is left behind.

    Raises:
        StorageError: Says what it cannot do, and what to do.
    """
    folder = temporary_in(root)
    try:
        for doing, attempt in _ATTEMPTS.items():
            try:
                attempt(folder)
            except _DifferentError as error:
                raise StorageError(f"The storage {root} cannot {doing}. {_OTHER_DISK}") from error
            except OSError as error:
                said = describe_refusal(error)
                if doing not in _OF_ANY_DISK and error.errno in _LACKING:
                    said = f"{os.strerror(error.errno)}. {_OTHER_DISK}"
                raise StorageError(f"The storage {root} cannot {doing}: {said}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _check_folders(root)


def _write(folder: Path) -> None:
    (folder / "a").write_bytes(_CONTENT)


def _sync(folder: Path) -> None:
    with (folder / "a").open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(folder)


def _replace(folder: Path) -> None:
    (folder / "b").write_bytes(b"new")
    (folder / "b").replace(folder / "a")
    if (folder / "a").read_bytes() != b"new":
        raise _DifferentError


def _link(folder: Path) -> None:
    os.link(folder / "a", folder / "b")
    with contextlib.suppress(FileExistsError):
        os.link(folder / "a", folder / "b")
        raise _DifferentError


def _name_long(folder: Path) -> None:
    (folder / _LONG_NAME).write_bytes(b"")


def _rename_folder(folder: Path) -> None:
    for name in ("c", "d"):
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"")
    (folder / "c").rename(folder / "e")
    try:
        (folder / "d").rename(folder / "e")
    except OSError:
        return
    raise _DifferentError


_ATTEMPTS: dict[str, Callable[[Path], None]] = {
    "be written": Path.mkdir,
    "take a file": _write,
    "save a file for good (fsync)": _sync,
    "replace a file by another": _replace,
    "give a file a second name (hard link)": _link,
    "rename a folder": _rename_folder,
    "hold names of 120 bytes": _name_long,
}
# How a file system says that it has no such thing.
_LACKING = {
    *(errno.EPERM, errno.EEXIST, errno.EINVAL, errno.EMLINK, errno.ENAMETOOLONG, errno.ENOSYS),
    *(errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV),
}
# What is refused for want of room or rights.
_OF_ANY_DISK = ("be written", "take a file")


def _check_folders(root: Path) -> None:
    """See that what others have made in the storage can be added to."""
    shared = [root / name for name in ("runs", "bottlenecks", "backbones", "weights", "downloads")]
    for top in (root / "bottlenecks", root / "backbones"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            shared += top.iterdir()
    for folder in shared:
        if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError(
                f"The folder {folder} of the storage belongs to {_name(folder.stat().st_uid)}, and "
                f"{_name(os.geteuid())} may not write there. Let both be in one group that may "
                "(`chmod -R g+rwXs`, and umask 002), or set POETS_STORAGE or --storage to a folder "
                "of your own."
            )


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
