"""Bottlenecks with thumbnails for TensorBoard's embedding projector.

Made on demand, not by the trainer: thumbnails need the photographs, which training from cached
bottlenecks does not read.
"""

import io
import math
from collections.abc import Iterator

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from workers.bottlenecks.batches import image_path, read_results
from workers.errors import ImageError
from workers.images.loading import OpenImage
from workers.storage.atomic import write_whole
from workers.storage.layout import RunFolder
from workers.storage.manifest import PlannedImage, batch_sizes, read_batch
from workers.storage.plan import Plan, Run

# The projector computes in the browser; more points make it slow.
MAX_POINTS = 2_000
# 2,000 of these are a sprite of 2,880 pixels a side; browsers refuse more than 8,192.
_THUMBNAIL = 64
_GONE = np.full((_THUMBNAIL, _THUMBNAIL, 3), 128, np.uint8)
_CONFIG = "projector_config.pbtxt"


def write_projector(run: Run) -> int:
    """Write the projector's files into the run's summaries; return the number of points.

    At most `MAX_POINTS` images are chosen, evenly over the manifest and so over labels and
    splits, the same ones each time. A photograph that is gone gets a grey thumbnail. The
    file that TensorBoard looks for is written last.

    Raises:
        StorageError: When the storage refuses.
    """
    bottlenecks, rows, thumbnails = [], [], []
    for image, bottleneck in _chosen(run):
        bottlenecks.append(bottleneck)
        rows.append((image.label or "", image.split or "", image.path))
        thumbnails.append(_thumbnail(run.plan, image))
    if not rows:
        return 0
    target = run.folder.summaries
    write_whole(target / "bottlenecks.bytes", np.stack(bottlenecks).astype("<f4").tobytes())
    write_whole(target / "bottlenecks.tsv", _metadata(rows))
    write_whole(target / "thumbnails.jpg", _sprite(thumbnails))
    write_whole(target / _CONFIG, _config(len(rows), len(bottlenecks[0])))
    return len(rows)


def _chosen(run: Run) -> Iterator[tuple[PlannedImage, NDArray[np.float32]]]:
    ends = np.cumsum(batch_sizes(run.folder))
    total = int(ends[-1])
    count = min(MAX_POINTS, total)
    # Strictly increasing, since there are at least as many images as points.
    positions = np.arange(count) * total // count
    numbers = np.searchsorted(ends, positions, "right")
    for number in np.unique(numbers).tolist():
        first = int(ends[number - 1]) if number else 0
        rows = (positions[numbers == number] - first).tolist()
        batch = read_batch(run.folder, number)
        results = read_results(run, batch)
        for row in rows:
            result = results[row]
            if result is not None and result.bottleneck is not None:
                yield batch.images[row], result.bottleneck


def _thumbnail(plan: Plan, image: PlannedImage) -> NDArray[np.uint8]:
    try:
        return OpenImage(image_path(plan, image), (_THUMBNAIL, _THUMBNAIL)).cut()
    except ImageError:
        return _GONE


def _metadata(rows: list[tuple[str, str, str]]) -> bytes:
    lines = [("label", "split", "path"), *rows]
    # A tab or a line break in a name would shift every row behind it.
    return "".join("\t".join(map(_one_line, line)) + "\n" for line in lines).encode()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sprite(thumbnails: list[NDArray[np.uint8]]) -> bytes:
    # The projector expects a square grid, row by row.
    across = math.ceil(math.sqrt(len(thumbnails)))
    sprite = Image.new("RGB", (across * _THUMBNAIL,) * 2)
    for i, pixels in enumerate(thumbnails):
        corner = (i % across * _THUMBNAIL, i // across * _THUMBNAIL)
        sprite.paste(Image.fromarray(pixels), corner)
    content = io.BytesIO()
    # Without chroma subsampling, so that no colour bleeds into the next thumbnail.
    sprite.save(content, "JPEG", quality=85, subsampling=0)
    return content.getvalue()


def _config(points: int, size: int) -> bytes:
    config = ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "bottlenecks"
    embedding.tensor_path = "bottlenecks.bytes"
    embedding.tensor_shape.extend([points, size])
    embedding.metadata_path = "bottlenecks.tsv"
    embedding.sprite.image_path = "thumbnails.jpg"
    embedding.sprite.single_image_dim.extend([_THUMBNAIL, _THUMBNAIL])
    return str(text_format.MessageToString(config)).encode()


def has_projector(folder: RunFolder) -> bool:
    """Whether the projector's files of a run are there."""
    return (folder.summaries / _CONFIG).exists()
