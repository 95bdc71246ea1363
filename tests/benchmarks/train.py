"""Time and memory of `poets train` on 100,000 bottlenecks; not run by pytest.

    python -m tests.benchmarks.train [IMAGES] [LABELS]

Makes up clusters of bottlenecks (512 numbers each) as the cache of a finished run, without
photographs, and runs the real command: server, worker, trainer, report.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from orchestrator.dataset.dataset import build_dataset
from orchestrator.dataset.scan import FoundImage, Scan
from orchestrator.planning.plan import plan_training
from workers.backbones.convert import convert_backbone
from workers.backbones.table import BackboneKey, find_spec, name_backbone
from workers.storage.layout import Storage
from workers.storage.manifest import read_batches
from workers.storage.plan import TrainingOptions
from workers.storage.shards import Shard, write_shard

ARCHITECTURE, WEIGHTS = "mobilenet_0.50_224", "random-0"
_POLL_S = 0.05


def make_run(storage: Storage, images: int, labels: int) -> None:
    """Plan a run on photographs that do not exist, and write all of its shards."""
    backbone_id = name_backbone(find_spec(ARCHITECTURE), WEIGHTS)
    found = [
        FoundImage(f"label_{i % labels:03d}/{i:07d}.jpg", 1000 + i, i, f"label_{i % labels:03d}")
        for i in range(images)
    ]
    found.sort(key=lambda image: image.path)
    root = str(storage.root / "photographs")
    backbone = BackboneKey(ARCHITECTURE, WEIGHTS, backbone_id)
    run = plan_training(
        storage,
        build_dataset(Scan(root, found, Counter()), TrainingOptions(), {}, []),
        backbone,
        TrainingOptions(),
        name="run",
        batch_size=None,
    )
    convert_backbone(storage, backbone, lambda: None)
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 1, (labels, 512)).astype(np.float32)
    for batch in read_batches(run.folder):
        numbers = [int((image.label or "").rsplit("_", 1)[1]) for image in batch.images]
        noise = generator.normal(0, 3, (len(numbers), 512)).astype(np.float32)
        shard = Shard(
            uris=[f"{root}/{image.path}" for image in batch.images],
            sizes=[image.size for image in batch.images],
            versions=[image.version for image in batch.images],
            digests=[image.size.to_bytes(32, "big") for image in batch.images],
            bottlenecks=np.maximum(centres[numbers] + noise, 0),
            errors=[None] * len(numbers),
        )
        write_shard(storage.shard(backbone_id, batch.own_shard or ""), shard)


def watch(process: subprocess.Popen[bytes], storage: Path) -> int:
    """Wait for a command; return the largest memory of any process of its stack, in bytes."""
    mark = f"POETS_STORAGE={storage}".encode()
    largest = 0
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_ours = mark in (folder / "environ").read_bytes()
                status = (folder / "status").read_text() if is_ours else ""
            except OSError:
                continue  # it has just ended
            peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            largest = max([largest, *(int(peak) * 1024 for peak in peaks)])
        time.sleep(_POLL_S)
    return largest


def main(images: int = 100_000, labels: int = 100) -> None:
    """Print seconds and memory."""
    with tempfile.TemporaryDirectory() as scratch:
        storage = Storage(Path(scratch, "storage"))
        started = time.monotonic()
        make_run(storage, images, labels)
        print(f"made {images:,} x 512, {labels} labels in {time.monotonic() - started:.0f} s")
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "train", "run", "--name", "again", "--json", "-q"],
            env={**os.environ, "POETS_STORAGE": str(storage.root)},
            stdout=subprocess.PIPE,
        )
        largest = watch(process, storage.root)
        out, _ = process.communicate()
        result = json.loads(out)
        card = json.loads((Path(result["model"]) / "model.json").read_text())
        print(f"poets train: {time.monotonic() - started:.1f} s whole, exit {process.returncode}")
        print(f"in the worker: {card['training']['seconds']}")
        print(f"largest process: {largest / 1e9:.2f} GB")
        print(f"computed {result['computed']}, test accuracy {result['test_accuracy']:.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
