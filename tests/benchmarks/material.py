"""What every rival is given: the same photographs, and the same network in each one's format."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.settings import Settings
from workers.storage.layout import Storage

ARCHITECTURE = "mobilenet_0.50_224"
SIZE = 224
_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Material:
    """A folder with photographs and models.

    Attributes:
        cores: What everybody may use.
        weights: Hash of the weights, or "random-SEED".
        backbone_id: Identity of the backbone of poets.
    """

    folder: str
    cores: int
    weights: str
    backbone_id: str

    @property
    def photographs(self) -> Path:
        """Folder of ``LABEL/NAME.jpg``."""
        return Path(self.folder, "photographs")

    @property
    def storage(self) -> Storage:
        """The storage of poets with the converted backbone, and no bottlenecks."""
        return Storage(Path(self.folder, "storage"))

    @property
    def backbone(self) -> Path:
        """LiteRT, float32."""
        return self.storage.backbone(self.backbone_id) / "backbone.tflite"

    @property
    def keras_weights(self) -> Path | None:
        return None if self.weights.startswith("random") else self.storage.weights(self.weights)

    @property
    def layers(self) -> Path:
        """See `tests.benchmarks.network`."""
        return Path(self.folder, "layers.npz")

    @property
    def frozen_graph(self) -> Path:
        """As the codelab's: `input`, float32 (1, 224, 224, 3), -1 to 1; `bottleneck` (1, 512)."""
        return Path(self.folder, "frozen.pb")

    @property
    def onnx(self) -> Path:
        """`pixels`, uint8 (n, 224, 224, 3), to bottlenecks (n, 512)."""
        return Path(self.folder, "backbone.onnx")

    @property
    def bottlenecks(self) -> Path:
        """Those of poets: float32, (images, 512), in the order of `paths`."""
        return Path(self.folder, "bottlenecks.npy")

    def paths(self) -> list[str]:
        """Return every photograph, in the order in which bottlenecks are handed in."""
        return sorted(map(str, self.photographs.glob("*/*")))

    def save(self) -> None:
        Path(self.folder, "material.json").write_text(json.dumps(asdict(self)))


def open_material(folder: str) -> Material:
    """Return what `Material.save` has written."""
    return Material(**json.loads(Path(folder, "material.json").read_text()))


def build_keras(material: Material) -> object:
    """Return the Keras model from pixels (float32, 0 to 255) to bottlenecks."""
    from workers.backbones.keras import build_keras_model
    from workers.backbones.table import find_spec

    return build_keras_model(find_spec(ARCHITECTURE), material.keras_weights, material.weights)


def bring_weights(settings: Settings) -> tuple[str, str]:
    """Put the weights into storage; return their hash and the backbone's identity.

    Real ones where POETS_WEIGHTS_DIR has them, else seeded random ones: the time is the same.
    """
    from orchestrator.planning.weights import resolve_backbone
    from workers.backbones.table import find_spec
    from workers.backbones.weights import find_weights

    found = find_weights(find_spec(ARCHITECTURE), settings.weights_dirs)
    weights = found or "random-0"
    key = resolve_backbone(settings, ARCHITECTURE, weights, lambda *_: None)
    return key.weights_digest, key.id


def gather_photographs(source: Path | None, target: Path, count: int | None) -> int:
    """Copy photographs into ``target/LABEL``, and return how many there are then.

    Copies, since times of access are set and read on them. Fewer than there are: evenly over
    all. More: hard links to the copies.

    Args:
        source: Folder of ``LABEL/NAME.jpg``; None for some that poets draws.
        count: How many; None for as many as there are.
    """
    if source is None:
        from cli.demo_flowers import SPECIES, draw_data_set

        source = target.with_name("drawn")
        draw_data_set(source, range(1, 1 + (count or 500) // len(SPECIES)), lambda: None)
    found = sorted(path for path in source.glob("*/*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise SystemExit(f"There is no LABEL/NAME.jpg in {source}. Give another BENCH_IMAGES.")
    count = count or len(found)
    for path, copy in _choose(found, count):
        place = target / path.parent.name
        first = place / path.name
        if copy == 0:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, first)
        else:
            os.link(first, place / f"{path.stem}-{copy}{path.suffix}")
    return count


def _choose(found: list[Path], count: int) -> Iterator[tuple[Path, int]]:
    """Yield `count` photographs, each with which copy of it this is, from 0."""
    if count < len(found):
        yield from ((found[number * len(found) // count], 0) for number in range(count))
    else:
        yield from ((found[n % len(found)], n // len(found)) for n in range(count))


def agreement(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the mean cosine similarity of the rows, both of shape (images, k)."""
    if found.shape != expected.shape:
        raise ValueError(f"bottlenecks of shape {found.shape} rather than {expected.shape}")
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.mean((found * expected).sum(axis=1) / np.maximum(lengths, 1e-12)))
