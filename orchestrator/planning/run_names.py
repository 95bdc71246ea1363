"""Give a finished plan its name: the folder of a run appears whole, and is never taken twice."""

import contextlib
import itertools
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from workers.errors import NameTakenError
from workers.storage.atomic import storage_errors
from workers.storage.layout import Storage
from workers.storage.plan import Plan, Run


def check_name(storage: Storage, name: str | None) -> None:
    """Refuse a name that a new run cannot have, before any work.

    Raises:
        NameTakenError: When another run has it.
        RunError: When it is not allowed.
    """
    if name is not None and storage.run(name).path.exists():
        raise NameTakenError(f"There is a run {name!r} already.", name)


def free_name(storage: Storage, base: str) -> str:
    """Return the first of BASE-1, BASE-2, ... that no run has yet."""
    names = (f"{base}-{number}" for number in itertools.count(1))
    return next(name for name in names if not storage.run(name).path.exists())


@contextlib.contextmanager
def temporary_folder(storage: Storage) -> Iterator[Path]:
    """Yield a folder beside those of the runs; what is left of it is removed."""
    temporary = storage.runs / f".tmp-{uuid.uuid4().hex}"
    with storage_errors(f"write {storage.runs}"):
        temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def claim_name(storage: Storage, temporary: Path, plan: Plan, name: str, is_exact: bool) -> Run:
    """Give the finished plan its name; renaming a folder is atomic and never overwrites."""
    while True:
        named = replace(plan, name=name if is_exact else free_name(storage, name))
        (temporary / "run.json").write_bytes(named.to_json())
        folder = storage.run(named.name)
        if not folder.path.exists():
            with storage_errors(f"write {folder.path}"):
                try:
                    temporary.rename(folder.path)
                    return Run(storage, folder, named)
                except OSError:
                    if not folder.path.exists():
                        raise
        if is_exact:
            raise NameTakenError(f"There is a run {name!r} already.", name)


def name_after(root: str) -> str:
    """Return what a run over this folder is called, but for its number."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", root.rstrip("/").rsplit("/", 1)[-1]).strip("-._")
    return slug[:60] or "run"
