"""Files that are written whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from workers.errors import StorageError
from workers.storage.regular_files import NotRegularError
from workers.storage.temporary import temporary_in


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the storage (full, read-only, gone) into a StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(doing, error) from error


def storage_error(doing: str, error: OSError) -> StorageError:
    """Return the error that says what could not be done, and why."""
    # Those of pyarrow have a number, but a text of its own.
    if isinstance(error, NotRegularError):
        reason = str(error.strerror)
    else:
        reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(
        f"Cannot {doing}: {reason}. Check that the storage is there, writable and not full."
    )


def is_refusal(error: Exception) -> bool:
    """Whether the storage refused; else what is read is missing or damaged."""
    # Arrow's own complaints about damaged content have no number.
    if not isinstance(error, OSError) or isinstance(error, NotRegularError):
        return False
    return error.errno not in (None, errno.ENOENT)


def write_whole(path: Path, write: Callable[[Path], None] | bytes) -> None:
    """Replace `path` by what `write` writes to the temporary path it is given.

    Raises:
        StorageError: When the storage refuses; nothing is left behind.
    """
    with _temporary_file(path, write) as temporary:
        os.replace(temporary, path)


def create_once(path: Path, write: Callable[[Path], None] | bytes) -> bool:
    """Write `path` unless it exists; return whether this call created it.

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
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary_file(path: Path, write: Callable[[Path], None] | bytes) -> Iterator[Path]:
    """Yield a whole file beside `path`, for the block to give it that name."""
    temporary = temporary_in(path.parent)
    with storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
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


def check_storage(storage: Path) -> None:
    """Make sure that the shared storage exists and can be written.

    Raises:
        StorageError: Says what to do.
    """
    probe = temporary_in(storage)
    try:
        storage.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"poets")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"The storage {storage} cannot be written: {error.strerror}. "
            "Set POETS_STORAGE or --storage to a folder that can."
        ) from error
