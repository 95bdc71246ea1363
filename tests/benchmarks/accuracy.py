"""Mean test accuracy over five seeds, as a Markdown table; not run by pytest.

    python -m tests.benchmarks.accuracy FLOWERS_DIR

Uses the settings of poets (POETS_STORAGE, POETS_WEIGHTS_DIR) for the backbone. Every
photograph and its variants are computed once; the seeds change the split and the solver.
"""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV

from orchestrator.dataset.scan import FoundImage, scan_folder
from orchestrator.dataset.split import Shares, split_images
from orchestrator.planning.weights import resolve_backbone
from workers.backbones.convert import convert_backbone
from workers.backbones.loading import Backbone, open_backbone
from workers.bottlenecks.computing import compute_results
from workers.bottlenecks.requests import Request
from workers.heads.evaluate import evaluate_head
from workers.heads.fit import fit_head
from workers.heads.head import Examples
from workers.images.distortions import Recipe
from workers.settings import load_settings
from workers.storage.layout import Storage
from workers.storage.names import decode_name
from workers.storage.plan import TrainingOptions

ARCHITECTURE = "mobilenet_0.50_224"
SEEDS = range(5)
VARIANTS = 8
RESOLUTIONS = (128, 160, 192, 224)
PLAIN = TrainingOptions()
SETTINGS = {
    "lbfgs, the default": PLAIN,
    "sgd, 4,000 steps, as the codelab": TrainingOptions(solver="sgd"),
    "lbfgs, flips": TrainingOptions(flip_left_right=True, variants=VARIANTS),
    "lbfgs, crops of 10 %": TrainingOptions(random_crop=10, variants=VARIANTS),
    "lbfgs, flips and crops of 10 %": TrainingOptions(
        flip_left_right=True, random_crop=10, variants=VARIANTS
    ),
    "lbfgs, scale 10 %": TrainingOptions(random_scale=10, variants=VARIANTS),
    "lbfgs, brightness 10 %": TrainingOptions(random_brightness=10, variants=VARIANTS),
    "sgd, flips and crops of 10 %": TrainingOptions(
        solver="sgd", flip_left_right=True, random_crop=10, variants=VARIANTS
    ),
}


@dataclass
class DataSet:
    """Photographs, and the bottlenecks of the variants of each that were asked for.

    Attributes:
        computed: Recipe of the last variant -> float32, shape (images, 1 + variants,
            bottleneck size).
    """

    root: str
    images: list[FoundImage]
    backbone: Backbone
    computed: dict[Recipe | None, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({image.label or "" for image in self.images}))

    def bottlenecks(self, options: TrainingOptions) -> NDArray[np.float32]:
        key = options.recipe(options.variants)
        if key not in self.computed:
            requests = [
                Request(decode_name(f"{self.root}/{image.path}"), None, options.recipe(number))
                for image in self.images
                for number in range(options.variants + 1)
            ]
            results = compute_results(requests, self.backbone, lambda: None)
            rows = np.array([result.bottleneck for result in results], np.float32)
            self.computed[key] = rows.reshape(len(self.images), options.variants + 1, -1)
        return self.computed[key]


def open_data_set(folder: Path, architecture: str = ARCHITECTURE) -> DataSet:
    """Find the photographs and bring their backbone into storage."""
    settings = load_settings({})
    storage = Storage(settings.storage)
    key = resolve_backbone(settings, architecture, None, lambda *_: None)
    convert_backbone(storage, key, lambda: None)
    scan = scan_folder(folder)
    backbone = open_backbone(storage, key, "cpu")
    return DataSet(scan.root, list(scan.images), backbone)


def divide(
    data: DataSet, rows: NDArray[np.float32], seed: int
) -> tuple[Examples, Examples, Examples]:
    """Return training (with variants), validation and test examples (without)."""
    named = [(image.label or "", image.path.split("/", 1)[1]) for image in data.images]
    splits = np.array(split_images(named, Shares(10, 10, seed)).splits)
    numbers = np.array([data.labels.index(image.label or "") for image in data.images])
    parts = []
    for split in ("training", "validation", "testing"):
        chosen = np.flatnonzero(splits == split)
        kept = rows[chosen] if split == "training" else rows[chosen, :1]
        labels = np.repeat(numbers[chosen], kept.shape[1])
        flat = np.ascontiguousarray(kept.reshape(len(labels), -1))
        paths = [data.images[i].path for i in np.repeat(chosen, kept.shape[1])]
        parts.append(Examples(flat, labels, paths))
    return parts[0], parts[1], parts[2]


def fit_ours(data: DataSet, options: TrainingOptions, seed: int) -> float:
    """Return the test accuracy of a head that poets fits."""
    training, validation, testing = divide(data, data.bottlenecks(options), seed)
    options = replace(options, seed=seed)
    fit = fit_head(training, validation, len(data.labels), options, lambda: None)
    return evaluate_head(fit.head, testing, data.labels, lambda: None).accuracy or 0.0


def fit_theirs(data: DataSet, seed: int) -> float:
    """Return the test accuracy of scikit-learn, C chosen by cross-validation."""
    training, _, testing = divide(data, data.bottlenecks(PLAIN), seed)
    model = LogisticRegressionCV(Cs=10, cv=5, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of defaults that will change, and of convergence
        model.fit(training.bottlenecks, training.labels)
        return float(model.score(testing.bottlenecks, testing.labels))


def main(folder: Path) -> None:
    """Print the table."""
    data = open_data_set(folder)
    print(f"{len(data.images)} photographs, {len(data.labels)} labels, {ARCHITECTURE}\n")
    print("| head | mean test accuracy | each seed | seconds |")
    print("| --- | --- | --- | --- |")
    for name, options in SETTINGS.items():
        print_row(name, lambda seed, options=options: fit_ours(data, options, seed))
    print_row("scikit-learn LogisticRegressionCV", lambda seed: fit_theirs(data, seed))
    print_resolutions(folder)


def print_resolutions(folder: Path) -> None:
    """Print how much a higher resolution gives, and the bottlenecks of all side by side."""
    sets = {size: open_data_set(folder, f"mobilenet_0.25_{size}") for size in RESOLUTIONS}
    print("\n| mobilenet_0.25 at | mean test accuracy | each seed | seconds |")
    print("| --- | --- | --- | --- |")
    for size, data in sets.items():
        print_row(f"{size} pixels", lambda seed, data=data: fit_ours(data, PLAIN, seed))
    together = next(iter(sets.values()))
    rows = [data.bottlenecks(PLAIN) for data in sets.values()]
    together.computed = {None: np.concatenate(rows, axis=2)}
    print_row("all of them side by side", lambda seed: fit_ours(together, PLAIN, seed))


def print_row(name: str, accuracy_of: Callable[[int], float]) -> None:
    """Print one row, as soon as it is known."""
    started = time.monotonic()
    found = [100 * accuracy_of(seed) for seed in SEEDS]
    each = ", ".join(f"{accuracy:.1f}" for accuracy in found)
    seconds = time.monotonic() - started
    print(f"| {name} | {np.mean(found):.1f} % | {each} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
