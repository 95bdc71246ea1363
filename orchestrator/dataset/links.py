"""Symbolic links in a data set: where they lead when followed, and what is lost when not."""

import os
from collections.abc import Collection, Iterable, Iterator

from orchestrator.dataset.label_file import name_some
from orchestrator.dataset.layout import Layout
from orchestrator.dataset.scan import Scan, is_found_by_itself
from workers.errors import LinksNotFollowedError
from workers.images.files import ENDINGS
from workers.storage.names import decode_name

_MOST_ENTRIES = 10_000


def refuse_lost_labels(
    scan: Scan, layout: Layout, folders: Collection[tuple[str, ...]]
) -> LinksNotFollowedError | None:
    """Return why a scan that follows no links cannot be used: a whole label is behind them.

    Args:
        folders: Those that hold images, by the names in their paths.
    """
    if scan.follows_links or layout.label_at is None:
        return None
    depth = max(layout.label_at, layout.split_at or 0) + 1
    filled = {folder[:at] for folder in folders for at in range(1, depth + 1)}
    behind = {prefix for prefix in _prefixes_behind_links(scan, depth) if prefix not in filled}
    if not behind:
        return None
    names = sorted("/".join(prefix) for prefix in behind)
    return LinksNotFollowedError(
        f"All images of {name_some(names)} in {scan.root} are behind links, which are not followed."
    )


def _prefixes_behind_links(scan: Scan, depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the label folders in which following links would find images."""
    root, known = decode_name(scan.root), set()
    for path, kind in scan.unopened or ():
        names = tuple(path.split("/"))
        if kind != "links" or names[:depth] in known:
            continue
        real = os.path.realpath(f"{root}/{decode_name(path)}")
        if not is_found_by_itself(root, real) and _leads_to_images(path, real, names, depth):
            known.add(names[:depth])
            yield names[:depth]


def _leads_to_images(path: str, real: str, names: Collection[str], depth: int) -> bool:
    if os.path.isdir(real):
        return _holds_image_below(real)
    return len(names) > depth and _is_image_name(path) and os.path.isfile(real)


def _holds_image_below(folder: str) -> bool:
    names = (name for _, _, files in os.walk(folder) for name in files)
    return any(_is_image_name(name) for name in _first(names))


def _first(names: Iterable[str]) -> Iterator[str]:
    return (name for name, _ in zip(names, range(_MOST_ENTRIES), strict=False))


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS
