"""What the fuzzer feeds: every reader of bytes that poets did not write itself.

A target takes any bytes. It may raise nothing: each catches the one kind of error that its
reader promises. Whatever else comes out of it, a hang or memory over the limit is a find.
"""

import contextlib
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.dataset.label_file import read_label_file
from tests.builders.jpegs import jpegs_of_every_kind
from tests.builders.paths import DATA
from tests.builders.pictures import decode_image, make_picture
from tests.builders.runs import make_plan
from workers.errors import DatasetError, ImageError, ModelError, RunError, SettingsError, ShardError
from workers.heads.model_folder import ModelCard, Preprocessing, read_card, read_head
from workers.images.decoding import make_thumbnail
from workers.settings import load_settings
from workers.storage.layout import RunFolder
from workers.storage.manifest import PlannedImage, read_batches, write_manifest
from workers.storage.plan import TrainingOptions, read_plan
from workers.storage.shards import Shard, read_shard, read_shard_index, write_shard

AWKWARD = DATA / "awkward"
_LARGEST_SEED = 64 * 1024
# In memory where there is such a folder: a fuzzer writes a file some thousand times a second.
_folder = tempfile.TemporaryDirectory(
    prefix="poets-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
)
_scratch = Path(_folder.name)


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        run: Reads any bytes.
        seeds: Bytes to begin with, valid ones among them.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def read_image(content: bytes) -> None:
    with contextlib.suppress(ImageError):
        pixels = decode_image(content, (32, 32))
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8
    with contextlib.suppress(ImageError):
        make_thumbnail(content, 64, 128)


def _images() -> list[bytes]:
    made = [make_picture(_scratch / "seed.jpg", (200, 30, 30)).read_bytes()]
    files = sorted(AWKWARD.iterdir()) if AWKWARD.is_dir() else []
    small = (path for path in files if path.is_file() and path.stat().st_size < _LARGEST_SEED)
    return made + [path.read_bytes() for path in small]


def read_a_scaled_jpeg(content: bytes) -> None:
    # The seeds have 66 rows, of which libjpeg-turbo leaves out most.
    for size in (1, 8, 16, 33, 66):
        with contextlib.suppress(ImageError):
            assert decode_image(content, (size, size)).shape == (size, size, 3)


def _jpegs() -> list[bytes]:
    return [jpeg.content for jpeg in jpegs_of_every_kind()]


def read_a_shard(content: bytes) -> None:
    path = _put("shard", content)
    with contextlib.suppress(ShardError):
        read_shard_index(path)
        shard = read_shard(path)
        assert len(shard.uris) == len(shard.bottlenecks)


def _shards() -> list[bytes]:
    numbers = np.ones((2, 3), np.float32)
    shard = Shard(["a", "b"], [1, 2], [3, 4], [b"d" * 32, None], numbers, [None, "bad"])
    write_shard(_scratch / "seed.arrow", shard)
    # Right checksums over what is not Arrow: a fuzzer that sees comparisons finds those.
    parts = b"", b"ARROW1"
    digests = [sha256(part).digest() for part in parts]
    forged = b"".join(parts) + struct.pack("<8sQQ32s32s", b"POETSv1\n", *map(len, parts), *digests)
    return [(_scratch / "seed.arrow").read_bytes(), forged]


def read_a_manifest(content: bytes) -> None:
    path = _put("manifest.parquet", content)
    with contextlib.suppress(RunError):
        for batch in read_batches(RunFolder(path.parent)):
            assert batch.own_shard is None or isinstance(batch.own_shard, str)


def _manifests() -> list[bytes]:
    images = tuple(
        PlannedImage(f"red/{n}.jpg", n, n, "red", "training", "0" * 32) for n in range(3)
    )
    write_manifest(_scratch / "seed.parquet", [images[:2], images[2:]])
    pq.write_table(pa.table({"path": ["a"], "size": ["large"]}), _scratch / "other.parquet")
    return [(_scratch / name).read_bytes() for name in ("seed.parquet", "other.parquet")]


def read_a_plan(content: bytes) -> None:
    path = _put("run.json", content)
    with contextlib.suppress(RunError):
        assert isinstance(read_plan(RunFolder(path.parent)).name, str)


def _plans() -> list[bytes]:
    plan = make_plan(name="spring", images=1, batches=1, labels=("x", "y"))
    trained = replace(plan, training=TrainingOptions())
    return [plan.to_json(), trained.to_json(), b"[" * 50_000, b"[1]", b'{"version": 1e999}']


def read_a_card(content: bytes) -> None:
    _put("model.json", content)
    with contextlib.suppress(ModelError):
        card = read_card(_scratch)
        card.is_unsure(card.labels[0] if card.labels else "", 0.5)


def _cards() -> list[bytes]:
    return [
        json.dumps({**asdict(_CARD), "thresholds": thresholds}).encode()
        for thresholds in (None, {"x": 0.5, "y": None}, {"x": "high"}, "x")
    ]


def read_a_head(content: bytes) -> None:
    _put("head.npz", content)
    with contextlib.suppress(ModelError):
        head = read_head(_scratch, _CARD)
        assert head.weights.shape == (4, 2)


def _heads() -> list[bytes]:
    target = BytesIO()
    np.savez(target, weights=np.ones((4, 2), np.float32), bias=np.zeros(2, np.float32))
    hostile = BytesIO()
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("../weights.npy", b"\x93NUMPY\x01\x00")
    return [target.getvalue(), hostile.getvalue()]


def read_settings(content: bytes) -> None:
    path = _put("poets.toml", content)
    with contextlib.suppress(SettingsError):
        load_settings({}, {"POETS_CONFIG": str(path)})


def _settings() -> list[bytes]:
    return [
        b'storage = "/data"\nbroker_url = "rediss://host/0"\nweights_dir = ["a", "b"]\n',
        b'broker_url = "rediss://hos[t/0"',
        b"storage = " + b"[" * 20_000,
    ]


def read_labels(content: bytes) -> None:
    path = _put("labels.csv", content)
    with contextlib.suppress(DatasetError):
        read_label_file(path)


def _label_files() -> list[bytes]:
    return [b"path,labels\na.jpg,beach;people\n", b'path,beach,people\n"a,b.jpg",1,0\n']


_CARD = ModelCard(
    name="spring",
    created="2026-01-01",
    architecture="mobilenet_0.25_128",
    backbone_id="b",
    weights="w",
    backbone_sha256="0",
    preprocessing=Preprocessing((32, 32), "tf"),
    bottleneck_size=4,
    labels=("x", "y"),
    counts={},
    metrics={},
    training={},
    versions={},
)
TARGETS = {
    "image": Target(read_image, _images),
    "scaled-jpeg": Target(read_a_scaled_jpeg, _jpegs),
    "shard": Target(read_a_shard, _shards),
    "manifest": Target(read_a_manifest, _manifests),
    "plan": Target(read_a_plan, _plans),
    "model-card": Target(read_a_card, _cards),
    "model-head": Target(read_a_head, _heads),
    "settings": Target(read_settings, _settings),
    "label-file": Target(read_labels, _label_files),
}


def _put(name: str, content: bytes) -> Path:
    path = _scratch / name
    path.write_bytes(content)
    return path
