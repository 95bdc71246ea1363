"""The trainer: from the bottlenecks of a run to one committed model."""

import csv
import importlib.metadata
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import numpy as np

from workers.backbones.stored import read_description
from workers.bottlenecks import ImageResult, read_results
from workers.errors import BottlenecksMissingError, DatasetError
from workers.heads.evaluate import Evaluation, evaluate_head
from workers.heads.fit import Fit, fit_head
from workers.heads.head import Examples
from workers.heads.model import ModelCard, save_model
from workers.storage.atomic import write_whole
from workers.storage.layout import RunFolder, Storage
from workers.storage.manifest import PlannedImage, count_split, read_batches
from workers.storage.plan import Plan, TrainingOptions

SPLITS = ("training", "validation", "testing")
# Larger sets of bottlenecks are gathered in a temporary file and stream from there.
_IN_MEMORY_BYTES = 2 * 1024**3
_ROWS_AT_ONCE = 65_536
_COUNTED = ("computed", "cached", "quarantined", "left_out", *SPLITS)


@dataclass
class Gathered:
    """All bottlenecks of a run by split, and what happened to every image."""

    examples: dict[str, Examples]
    counts: Counter[str] = field(default_factory=Counter)
    quarantine: list[tuple[str, str]] = field(default_factory=list)


def train_run(
    storage: Storage,
    folder: RunFolder,
    plan: Plan,
    beat: Callable[[], None],
    may_commit: Callable[[], None],
) -> None:
    """Fit, evaluate and commit the model of a run; does nothing if there is one.

    Args:
        beat: Called now and then, to show that the work goes on.
        may_commit: Raises LeaseLostError when somebody else has taken over.

    Raises:
        BottlenecksMissingError: Some batches must be done again; they are marked.
        DatasetError: Too few images could be read.
    """
    if folder.model.exists():
        return
    options = plan.training or TrainingOptions()
    gathered = gather_bottlenecks(storage, folder, plan, beat)
    _check_labels(plan, gathered)
    training, validation, testing = (gathered.examples[split] for split in SPLITS)
    fit = fit_head(training, validation, len(plan.labels), options, beat)
    evaluations = {
        "validation": evaluate_head(fit.head, validation, plan.labels, beat),
        "test": evaluate_head(fit.head, testing, plan.labels, beat),
    }
    may_commit()
    save_model(
        folder.model,
        _card(storage, plan, gathered, fit, evaluations),
        fit.head,
        storage.backbone(plan.backbone_id) / "backbone.tflite",
        _reports(plan, gathered, evaluations),
    )


def gather_bottlenecks(
    storage: Storage, folder: RunFolder, plan: Plan, beat: Callable[[], None]
) -> Gathered:
    """Return the bottlenecks of every image that could be read.

    A training image with the very content of one that is held out is left out: it would
    leak the answer.

    Raises:
        BottlenecksMissingError: As `train_run`.
    """
    gathered = Gathered({}, Counter(dict.fromkeys(_COUNTED, 0)))
    width = read_description(storage, plan.backbone_id)["bottleneck_size"]
    numbering = {label: number for number, label in enumerate(plan.labels)}
    with tempfile.TemporaryDirectory(prefix="poets-") as scratch:
        parts = {split: _Part.allocate(scratch, split, folder, width) for split in SPLITS}
    for image, result in _results(storage, folder, plan, beat):
        if result.bottleneck is None:
            gathered.counts["quarantined"] += 1
            gathered.quarantine.append((image.path, result.error or "unknown"))
            continue
        gathered.counts["cached" if image.is_cached else "computed"] += 1
        parts[image.split or "training"].add(image, numbering, result)
    gathered.counts["left_out"] = parts["training"].leave_out(
        {digest for split in SPLITS[1:] for digest in parts[split].digests}
    )
    for split, part in parts.items():
        gathered.examples[split] = part.examples()
        gathered.counts[split] = len(part.labels)
    return gathered


@dataclass
class _Part:
    """The examples of one split while they are gathered."""

    bottlenecks: np.ndarray
    labels: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)

    @classmethod
    def allocate(cls, scratch: str, split: str, folder: RunFolder, width: int) -> "_Part":
        shape = (count_split(folder, split), width)
        if shape[0] * width * 4 <= _IN_MEMORY_BYTES:
            return cls(np.empty(shape, np.float32))
        # Its name goes with the scratch folder; the mapping keeps the file alive.
        return cls(np.memmap(f"{scratch}/{split}", np.float32, "w+", shape=shape))

    def add(self, image: PlannedImage, numbering: dict[str, int], result: ImageResult) -> None:
        self.bottlenecks[len(self.labels)] = result.bottleneck
        self.labels.append(numbering[image.label or ""])
        self.paths.append(image.path)
        self.digests.append(result.digest)

    def leave_out(self, digests: set[bytes | None]) -> int:
        keep = [i for i, digest in enumerate(self.digests) if digest not in digests]
        left_out = len(self.labels) - len(keep)
        if left_out:
            # In place and in pieces: the bottlenecks may be larger than memory.
            for start in range(0, len(keep), _ROWS_AT_ONCE):
                rows = keep[start : start + _ROWS_AT_ONCE]
                self.bottlenecks[start : start + len(rows)] = self.bottlenecks[rows]
            self.labels = [self.labels[i] for i in keep]
            self.paths = [self.paths[i] for i in keep]
        return left_out

    def examples(self) -> Examples:
        count = len(self.labels)
        return Examples(self.bottlenecks[:count], np.array(self.labels, np.int64), self.paths)


def _results(
    storage: Storage, folder: RunFolder, plan: Plan, beat: Callable[[], None]
) -> Iterator[tuple[PlannedImage, ImageResult]]:
    incomplete = 0
    for batch in read_batches(folder):
        results = read_results(storage, plan, batch)
        if None in results:
            incomplete += 1
            write_whole(folder.redo / str(batch.number), b"")
        beat()
        yield from (
            (image, result)
            for image, result in zip(batch.images, results, strict=True)
            if result is not None
        )
    if incomplete:
        raise BottlenecksMissingError(f"{incomplete} batches have to be done again.")


def _check_labels(plan: Plan, gathered: Gathered) -> None:
    present = set(gathered.examples["training"].labels.tolist())
    missing = [label for number, label in enumerate(plan.labels) if number not in present]
    if missing:
        raise DatasetError(
            f"Label {missing[0]!r} has no training image left: of {plan.images} images "
            f"{gathered.counts['quarantined']} cannot be read, and {gathered.counts['left_out']} "
            "are copies of held-out ones. Add or repair images, then submit the folder again."
        )


def _card(
    storage: Storage,
    plan: Plan,
    gathered: Gathered,
    fit: Fit,
    evaluations: dict[str, Evaluation],
) -> ModelCard:
    backbone = read_description(storage, plan.backbone_id)
    metrics: dict[str, float | None] = {}
    for split, evaluation in evaluations.items():
        metrics[f"{split}_accuracy"] = evaluation.accuracy
        metrics[f"{split}_log_loss"] = evaluation.log_loss
    libraries = ("poets", "numpy", "scipy", "pillow", "ai-edge-litert")
    return ModelCard(
        name=plan.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        architecture=plan.architecture,
        backbone_id=plan.backbone_id,
        weights=plan.weights_digest,
        backbone_sha256=backbone["sha256"],
        preprocessing={
            "input_size": backbone["input_size"],
            "mode": backbone["preprocessing"],
            "resize": "bilinear, aspect ratio not kept",
            "inside_backbone": True,
        },
        bottleneck_size=backbone["bottleneck_size"],
        labels=plan.labels,
        counts=dict(gathered.counts),
        metrics=metrics,
        training={**asdict(plan.training or TrainingOptions()), **fit.details},
        versions={name: importlib.metadata.version(name) for name in libraries},
    )


def _reports(
    plan: Plan, gathered: Gathered, evaluations: dict[str, Evaluation]
) -> dict[str, bytes]:
    figures = {
        split: {
            "images": evaluation.images,
            "accuracy": evaluation.accuracy,
            "log_loss": evaluation.log_loss,
            "confusion": evaluation.confusion.tolist(),
        }
        for split, evaluation in evaluations.items()
    }
    mistakes = [
        (split, mistake.path, mistake.label, mistake.predicted, mistake.score)
        for split, evaluation in evaluations.items()
        for mistake in evaluation.mistakes
    ]
    return {
        "evaluation.json": json.dumps({"labels": plan.labels, **figures}, indent=2).encode(),
        "quarantine.csv": _table(["path", "reason"], sorted(gathered.quarantine)),
        "mistakes.csv": _table(["split", "path", "label", "predicted", "score"], mistakes),
    }


def _table(header: list[str], rows: Iterable[tuple[str | float, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
