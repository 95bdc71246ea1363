"""Files that are written whole or not at all: in the storage, and elsewhere."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.errors import PoetsError, StorageError
from workers.storage.regular_files import NotRegularError
from workers.storage.root import make_folder, storage_id
from workers.storage.temporary import temporary_in

_CHECK = "Check that the storage is there, and its disk or network."
_ADVICE = {
    errno.ENOSPC: "Make room there.",
    errno.EDQUOT: "Your quota there is used up: make room, or have it raised.",
    errno.EROFS: "It is mounted read-only: mount it for writing.",
    errno.EACCES: "Let this user write there.",
    errno.EPERM: "The file system does not allow it, or not to this user.",
    errno.ENAMETOOLONG: "The file system takes shorter names only.",
    errno.EFBIG: "Allow larger files (`ulimit -f`), or take another file system.",
    errno.EMFILE: "Allow more open files (`ulimit -n`).",
    errno.ENFILE: "Close other programs: the machine has too many open files.",
    errno.ENOTDIR: "Check that the storage is there: a file is where a folder should be.",
}


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the storage (full, read-only, gone) into a StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(doing, error) from error


def storage_error(doing: str, error: OSError) -> StorageError:
    """Return the error that says what could not be done, and why."""
    return StorageError(f"Cannot {doing}: {describe_refusal(error)}")


def describe_refusal(error: OSError) -> str:
    """Return what a disk said, and what to do about it."""
    # Those of pyarrow have a number, but a text of its own.
    if isinstance(error, NotRegularError):
        reason = str(error.strerror)
    else:
        reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}. {_ADVICE.get(error.errno or 0, _CHECK)}"


def is_refusal(error: Exception) -> bool:
    """Whether the storage refused; else what is read is missing or damaged."""
    return _is_of_system(error) and getattr(error, "errno", None) != errno.ENOENT


def is_outage(error: PoetsError, root: Path) -> bool:
    """Whether an error, by its cause, says that a storage could not be reached, and no more.

    What was missing may only have been unmounted, even if it is there again by now.
    """
    cause: BaseException | None = error
    while cause is not None and not _is_of_system(cause):
        cause = cause.__cause__
    if not isinstance(cause, OSError) or cause.errno != errno.ENOENT:
        return cause is not None
    try:
        storage_id(root)
    except StorageError:
        return True
    return cause.filename is None or os.path.lexists(cause.filename)


def _is_of_system(error: BaseException) -> bool:
    # Arrow's own complaints about damaged content have no number.
    is_system = isinstance(error, OSError) and not isinstance(error, NotRegularError)
    return is_system and getattr(error, "errno", None) is not None


def write_whole(path: Path, write: Callable[[Path], None] | bytes) -> None:
    """Replace a file of the storage by what `write` writes to the temporary path it is given.

    Folders that are missing are made, as `make_folder` does.

    Raises:
        StorageError: When the storage is not there, or refuses; nothing is left behind.
    """
    with storage_errors(f"write {path}"):
        make_folder(path.parent)
    put_whole(path, write)


def create_once(path: Path, write: Callable[[Path], None] | bytes) -> bool:
    """Write a file of the storage unless it exists; return whether this call created it.

    Raises:
        StorageError: See `write_whole`.
    """
    with storage_errors(f"write {path}"):
        make_folder(path.parent)
    return put_once(path, write)


def put_whole(path: Path, write: Callable[[Path], None] | bytes) -> None:
    """Replace a file anywhere, in a folder that is there; see `write_whole`."""
    with _temporary_file(path, write) as temporary:
        os.replace(temporary, path)


def put_once(path: Path, write: Callable[[Path], None] | bytes) -> bool:
    """Write a file anywhere, in a folder that is there; see `create_once`.

    The hard link is the only create-if-absent that is atomic with whole content on
    POSIX file systems and NFS.
    """
    with _temporary_file(path, write) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def put_new(temporary: Path, path: Path) -> None:
    """Give a file a name outside the storage, on any file system, and never overwrite.

    Raises:
        FileExistsError: When there is something of that name.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (exFAT, SMB): claim the name first.
        path.open("xb").close()
        temporary.replace(path)


def note_use(path: Path) -> None:
    """Let a file count as used now, for what is not used for long may be removed."""
    with contextlib.suppress(OSError):  # of another user, or read-only
        os.utime(path)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut, where the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems know it for files only.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary_file(path: Path, write: Callable[[Path], None] | bytes) -> Iterator[Path]:
    """Yield a whole file beside `path`, for the block to give it that name."""
    temporary = temporary_in(path.parent)
    with storage_errors(f"write {path}"):
        try:
            if isinstance(write, bytes):
                temporary.write_bytes(write)
            else:
                write(temporary)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
