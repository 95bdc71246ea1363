"""From the images of a batch to its bottlenecks: read what storage has, compute the rest."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from workers.backbones.table import find_spec
from workers.bottlenecks.requests import ImageResult, Request
from workers.errors import ShardError, StorageError, UnconfirmedError
from workers.images.distortions import Recipe, variant_uri
from workers.images.files import is_folder_with_files
from workers.settings import poets_version
from workers.storage.atomic import storage_errors
from workers.storage.manifest import Batch, PlannedImage
from workers.storage.names import decode_name
from workers.storage.plan import Plan, Run
from workers.storage.root import check_reachable
from workers.storage.shards import Shard, read_shard, write_shard
from workers.storage.unreachable import Unreachable, read_unreachable, write_unreachable

# Computes images in order: `computing` does so quickly, `isolated` carefully.
Compute = Callable[[list[Request]], Iterable[ImageResult]]


class Witness(Protocol):
    """A worker, by name (HOST:PID), that may not be the only one to miss an image."""

    @property
    def name(self) -> str: ...

    def confirm(self, unreachable: Mapping[str, str], images: int, note: Unreachable) -> None:
        """Return if images may become rows.

        Args:
            unreachable: Path -> reason of those that this worker cannot open.
            images: How many images the batch has.
            note: What was known before.

        Raises:
            UnconfirmedError: When another worker is to try them first.
        """


def complete_batch(
    run: Run, batch: Batch, compute: Compute, witness: Witness | None = None
) -> list[ImageResult]:
    """Return one result for each image of the batch, in order, computing what is missing.

    What was computed is in the batch's own shard when this returns; a second delivery
    finds it and computes nothing.

    Args:
        witness: Who computes; None when nobody else needs to try what cannot be opened.

    Raises:
        UnconfirmedError: When another worker is to try some images; the others are kept.
        StorageError: When the shard cannot be written, or the photographs are not there at
            all; the batch is as it was before.
    """
    plan, redo = run.plan, run.folder.redo / str(batch.number)
    note = read_unreachable(run.folder, batch.number)
    had_note = note != Unreachable()
    results, in_own_shard = _look_up(run, batch)
    if had_note:
        again = note.images if redo.exists() else {}
        in_own_shard += _take_from_note(run, batch, results, again)
    if missing := _missing(results):
        requests = [
            Request(image_path(plan, image), (image.size, image.version), image_recipe(plan, image))
            for image in (batch.images[i] for i in missing)
        ]
        for i, result in zip(missing, compute(requests), strict=True):
            results[i] = result
        _check_root(plan, [results[i] for i in missing])
        if witness:
            note = _confirm(run, batch, results, missing, note, witness)
        _write_rows(run, batch, results, sorted({*in_own_shard, *missing}))
    if had_note:
        _clear_note(run, batch, results, note)
    redo.unlink(missing_ok=True)
    return [result for result in results if result is not None]


def _take_from_note(
    run: Run, batch: Batch, results: list[ImageResult | None], again: Container[str]
) -> list[int]:
    """Take what earlier attempts could compute, and forget the failures of images to try again.

    Returns:
        The indices of what was taken.
    """
    taken = []
    part = _read_if_whole(run.shard(_part(run, batch)))
    rows = {uri: row for row, uri in enumerate(part.uris)} if part else {}
    for i, (image, result) in enumerate(zip(batch.images, results, strict=True)):
        row = rows.get(image_uri(run.plan, image))
        if part and row is not None and result is None:
            results[i] = _result(part, row)
            taken.append(i)
        elif result and result.bottleneck is None and not result.digest and image.path in again:
            results[i] = None
    return taken


def _confirm(
    run: Run,
    batch: Batch,
    results: list[ImageResult | None],
    tried: list[int],
    note: Unreachable,
    witness: Witness,
) -> Unreachable:
    """Let images that cannot be opened become rows that say where, if they may; note them."""
    lost = {i: result for i in tried if (result := results[i]) and result.is_unreachable}
    if not lost:
        return replace(note, images={})
    reasons = {batch.images[i].path: result.error or "" for i, result in lost.items()}
    now = replace(note, images=reasons, tried_by=(*note.tried_by, witness.name))
    write_unreachable(run.folder, batch.number, now)
    try:
        witness.confirm(reasons, len({image.path for image in batch.images}), note)
    except UnconfirmedError:
        good = [i for i, image in enumerate(batch.images) if not image.is_cached]
        good = [i for i in good if (result := results[i]) and result.digest]
        if good:
            _write_rows(run, batch, results, good, _part(run, batch))
        raise
    for i, result in lost.items():
        results[i] = replace(result, error=now.name_hosts(result.error or ""))
    return now


def _clear_note(
    run: Run, batch: Batch, results: list[ImageResult | None], note: Unreachable
) -> None:
    """Remove what is not needed any more; the note stays while its images have failed."""
    failed = {
        image.path
        for image, result in zip(batch.images, results, strict=True)
        if result and result.bottleneck is None and not result.digest
    }
    with storage_errors("remove what failed attempts left"):
        run.shard(_part(run, batch)).unlink(missing_ok=True)
        if failed.isdisjoint(note.images):
            (run.folder.unreachable / str(batch.number)).unlink(missing_ok=True)


def _check_root(plan: Plan, results: list[ImageResult | None]) -> None:
    """Tell a mount that has vanished from images that are gone."""
    if all(result is None or result.error is None or result.digest for result in results):
        return
    if not is_folder_with_files(decode_name(plan.root)):
        raise StorageError(f"The folder {plan.root} of the photographs is gone or empty here.")


def read_results(run: Run, batch: Batch) -> list[ImageResult | None]:
    """Return what storage has for each image of the batch, None where it has nothing.

    Raises:
        StorageError: When the storage refuses.
    """
    results, _ = _look_up(run, batch)
    return results


def _missing(results: list[ImageResult | None]) -> list[int]:
    return [i for i, result in enumerate(results) if result is None]


def _look_up(run: Run, batch: Batch) -> tuple[list[ImageResult | None], list[int]]:
    """Return what storage has by image, and the indices of what the batch's own shard has."""
    results: list[ImageResult | None] = [None] * len(batch.images)
    by_shard: dict[str, list[int]] = defaultdict(list)
    for i, image in enumerate(batch.images):
        if image.is_cached:
            by_shard[image.shard].append(i)
    # One shard at a time: together they may be far larger than the batch.
    for name, indices in by_shard.items():
        shard = _read_if_whole(run.shard(name))
        for i in indices:
            results[i] = _cached_result(shard, batch.images[i])
    in_own_shard = []
    missing = _missing(results)
    own = _read_if_whole(run.shard(_own_shard(run, batch))) if missing else None
    if own is not None:
        rows = {uri: row for row, uri in enumerate(own.uris)}
        for i in missing:
            row = rows.get(image_uri(run.plan, batch.images[i]))
            if row is not None:
                results[i] = _result(own, row)
                in_own_shard.append(i)
    return results, in_own_shard


def image_path(plan: Plan, image: PlannedImage) -> str:
    """Return the path to open, with the exact bytes of its name."""
    return file_path(plan, image.path)


def file_path(plan: Plan, path: str) -> str:
    """Return the path to open for an image of a plan; without links if these are followed.

    What opens it refuses a link, such as one that has taken the place of an image.
    """
    full = f"{decode_name(plan.root)}/{decode_name(path)}"
    return os.path.realpath(full) if plan.follows_links else full


def image_uri(plan: Plan, image: PlannedImage) -> str:
    """Return the name of an image, or of its variant, in shards."""
    return variant_uri(f"{plan.root}/{image.path}", image_recipe(plan, image))


def image_recipe(plan: Plan, image: PlannedImage) -> Recipe | None:
    """Return how a row of the manifest is made; None for an image as it is."""
    return plan.training.recipe(image.variant) if plan.training else None


def _own_shard(run: Run, batch: Batch) -> str:
    # A batch that was wholly cached has none, unless a cached shard was lost since.
    return batch.own_shard or f"{run.name}-{batch.number}"


def _read_if_whole(path: Path) -> Shard | None:
    try:
        return read_shard(path)
    except FileNotFoundError:
        check_reachable(path)
        return None
    except ShardError:
        # Moved away, so that nothing takes it for whole; kept, so that a person can look at it.
        with storage_errors(f"rename {path}"), contextlib.suppress(FileNotFoundError):
            path.rename(path.with_suffix(".damaged"))
        return None


def _cached_result(shard: Shard | None, image: PlannedImage) -> ImageResult | None:
    if shard is None or image.shard_row >= len(shard.uris):
        return None
    result = _result(shard, image.shard_row)
    return result if result.digest == image.digest else None


def _result(shard: Shard, row: int) -> ImageResult:
    error = shard.errors[row]
    # A copy, or one row would keep the whole shard in memory.
    bottleneck = None if error else shard.bottlenecks[row].copy()
    warning = shard.warnings[row] if shard.warnings else None
    return ImageResult(bottleneck, shard.digests[row], error, warning=warning)


def _part(run: Run, batch: Batch) -> str:
    """Return the name of the shard for what a failed attempt has computed."""
    return f"{run.name}-{batch.number}-part"


def _write_rows(
    run: Run, batch: Batch, results: list[ImageResult | None], rows: list[int], name: str = ""
) -> None:
    """Write some rows as the batch's own shard, or as another one."""
    kept = [(batch.images[i], result) for i in rows if (result := results[i]) is not None]
    width = find_spec(run.plan.architecture).bottleneck_size
    bottlenecks = np.zeros((len(kept), width), np.float32)
    for row, (_, result) in enumerate(kept):
        if result.bottleneck is not None:
            bottlenecks[row] = result.bottleneck
    shard = Shard(
        uris=[image_uri(run.plan, image) for image, _ in kept],
        sizes=[image.size for image, _ in kept],
        versions=[image.version for image, _ in kept],
        digests=[result.digest for _, result in kept],
        bottlenecks=bottlenecks,
        errors=[result.error for _, result in kept],
        warnings=[result.warning for _, result in kept],
        poets=poets_version(),
    )
    write_shard(run.shard(name or _own_shard(run, batch)), shard)
