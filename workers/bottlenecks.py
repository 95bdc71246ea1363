"""From the images of a batch to its bottlenecks: what is known is read, the rest computed."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.backbones.loading import Backbone
from workers.errors import ImageError, ShardError
from workers.images import ContentError, load_image
from workers.storage.atomic import storage_errors
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import Batch, PlannedImage
from workers.storage.names import decode_name
from workers.storage.plan import Plan
from workers.storage.shards import Shard, read_shard, write_shard


@dataclass(frozen=True)
class ImageResult:
    """What came out of one image: a bottleneck (float32, shape (k,)) or an error."""

    bottleneck: NDArray[np.float32] | None
    digest: bytes | None = None
    error: str | None = None


# A path, and the size in bytes and version in ns that were planned (None: not planned).
Request = tuple[str, tuple[int, int] | None]
# Computes images in order; `workers.isolation` has a careful one.
Compute = Callable[[list[Request]], Iterable[ImageResult]]


def complete_batch(
    storage: Storage, folder: RunFolder, plan: Plan, batch: Batch, compute: Compute
) -> list[ImageResult]:
    """Return one result for each image of the batch, in order, computing what is missing.

    What was computed is in the batch's own shard when this returns; a second delivery
    finds it and computes nothing.

    Raises:
        StorageError: When the shard cannot be written; the batch is as it was before.
    """
    results, own = _look_up(storage, plan, batch)
    missing = [i for i, result in enumerate(results) if result is None]
    if missing:
        images = [batch.images[i] for i in missing]
        request: list[Request] = [
            (image_path(plan, image), (image.size, image.version)) for image in images
        ]
        for i, result in zip(missing, compute(request), strict=True):
            results[i] = result
        _write_own_shard(storage, plan, batch, results, sorted({*own, *missing}))
    (folder.redo / str(batch.number)).unlink(missing_ok=True)
    return [result for result in results if result is not None]


def read_results(storage: Storage, plan: Plan, batch: Batch) -> list[ImageResult | None]:
    """Return what storage has for each image of the batch, None where it has nothing.

    Raises:
        StorageError: When the storage refuses.
    """
    return _look_up(storage, plan, batch)[0]


def _look_up(
    storage: Storage, plan: Plan, batch: Batch
) -> tuple[list[ImageResult | None], list[int]]:
    """Return as `read_results`, and the places of those that the batch's own shard has."""
    shards: dict[str, Shard | None] = {}

    def open_once(name: str) -> Shard | None:
        if name not in shards:
            shards[name] = _read_if_whole(storage, plan, name)
        return shards[name]

    own = open_once(_own_shard(plan, batch))
    rows = {uri: row for row, uri in enumerate(own.uris)} if own else {}
    results: list[ImageResult | None] = []
    from_own = []
    for i, image in enumerate(batch.images):
        found = _cached_result(open_once(image.shard), image) if image.is_cached else None
        row = rows.get(image_uri(plan, image))
        if found is None and own is not None and row is not None:
            found = _result(own, row)
            from_own.append(i)
        results.append(found)
    return results, from_own


def compute_results(
    images: list[Request], backbone: Backbone, beat: Callable[[], None]
) -> Iterable[ImageResult]:
    """Yield one result for each image, in order.

    Args:
        beat: Called after every image, to show that the work goes on.
    """
    height, width = backbone.input_size
    pixels = np.empty((backbone.chunk, height, width, 3), np.uint8)
    for start in range(0, len(images), backbone.chunk):
        results: list[ImageResult | bytes] = []
        count = 0
        for path, planned in images[start : start + backbone.chunk]:
            try:
                image = load_image(path, backbone.input_size, planned)
                pixels[count] = image.pixels
                count += 1
                results.append(image.digest)
            except ContentError as error:
                results.append(ImageResult(None, error.digest, str(error)))
            except ImageError as error:
                results.append(ImageResult(None, None, str(error)))
            beat()
        bottlenecks = iter(backbone.compute(pixels[:count]))
        for result in results:
            yield ImageResult(next(bottlenecks), result) if isinstance(result, bytes) else result


def image_path(plan: Plan, image: PlannedImage) -> str:
    """Return the path to open, with the exact bytes of its name."""
    return f"{decode_name(plan.root)}/{decode_name(image.path)}"


def image_uri(plan: Plan, image: PlannedImage) -> str:
    """Return where the image lies, as it is written in shards."""
    return f"{plan.root}/{image.path}"


def _own_shard(plan: Plan, batch: Batch) -> str:
    # A batch that was wholly cached has none, unless a cached shard was lost since.
    return batch.own_shard or f"{plan.name}-{batch.number}"


def _read_if_whole(storage: Storage, plan: Plan, name: str) -> Shard | None:
    path = storage.shard(plan.backbone_id, name)
    try:
        return read_shard(path)
    except FileNotFoundError:
        return None
    except ShardError:
        # Out of the way, so that nothing takes it for whole; kept, so that it can be seen.
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
    bottleneck = None if error else shard.bottlenecks[row]
    return ImageResult(bottleneck, shard.digests[row], error)


def _write_own_shard(
    storage: Storage,
    plan: Plan,
    batch: Batch,
    results: list[ImageResult | None],
    rows: list[int],
) -> None:
    kept = [(batch.images[i], result) for i in rows if (result := results[i]) is not None]
    width = _bottleneck_size(plan)
    bottlenecks = np.zeros((len(kept), width), np.float32)
    for row, (_, result) in enumerate(kept):
        if result.bottleneck is not None:
            bottlenecks[row] = result.bottleneck
    shard = Shard(
        uris=[image_uri(plan, image) for image, _ in kept],
        sizes=[image.size for image, _ in kept],
        versions=[image.version for image, _ in kept],
        digests=[result.digest for _, result in kept],
        bottlenecks=bottlenecks,
        errors=[result.error for _, result in kept],
    )
    write_shard(storage.shard(plan.backbone_id, _own_shard(plan, batch)), shard)


def _bottleneck_size(plan: Plan) -> int:
    from workers.backbones.table import find_spec

    return find_spec(plan.architecture).bottleneck_size
