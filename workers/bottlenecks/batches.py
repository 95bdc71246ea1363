"""From the images of a batch to its bottlenecks: read what storage has, compute the rest."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from workers.backbones.table import find_spec
from workers.bottlenecks.requests import ImageResult, Request
from workers.errors import ShardError, StorageError
from workers.images.distortions import Recipe, variant_uri
from workers.images.files import is_folder_with_files
from workers.storage.atomic import storage_errors
from workers.storage.manifest import Batch, PlannedImage
from workers.storage.names import decode_name
from workers.storage.plan import Plan, Run
from workers.storage.root import check_reachable
from workers.storage.shards import Shard, read_shard, write_shard

# Computes images in order: `computing` does so quickly, `isolated` carefully.
Compute = Callable[[list[Request]], Iterable[ImageResult]]


def complete_batch(run: Run, batch: Batch, compute: Compute) -> list[ImageResult]:
    """Return one result for each image of the batch, in order, computing what is missing.

    What was computed is in the batch's own shard when this returns; a second delivery
    finds it and computes nothing.

    Raises:
        StorageError: When the shard cannot be written, or the photographs are not there at
            all; the batch is as it was before.
    """
    plan = run.plan
    results, in_own_shard = _look_up(run, batch)
    if missing := _missing(results):
        requests = [
            Request(image_path(plan, image), (image.size, image.version), image_recipe(plan, image))
            for image in (batch.images[i] for i in missing)
        ]
        for i, result in zip(missing, compute(requests), strict=True):
            results[i] = result
        _check_root(plan, [results[i] for i in missing])
        _write_own_shard(run, batch, results, sorted({*in_own_shard, *missing}))
    (run.folder.redo / str(batch.number)).unlink(missing_ok=True)
    return [result for result in results if result is not None]


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
    return ImageResult(bottleneck, shard.digests[row], error)


def _write_own_shard(
    run: Run, batch: Batch, results: list[ImageResult | None], rows: list[int]
) -> None:
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
    )
    write_shard(run.shard(_own_shard(run, batch)), shard)
