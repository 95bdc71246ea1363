"""Make the immutable plan of a run: run.json and manifest.parquet, before the first task."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.dataset.check_names import judge_sizes, look_over
from orchestrator.dataset.concerns import warn_of
from orchestrator.dataset.labels import assign_splits, check_labels, list_labels, no_images
from orchestrator.dataset.scan import FoundImage, Scan
from orchestrator.dataset.split import TRAINING, earlier_exceptions
from orchestrator.planning.batches import choose_batch_size, cut_batches
from orchestrator.planning.cache import CacheIndex
from orchestrator.planning.rows import plan_rows
from orchestrator.planning.run_names import claim_name, name_after, temporary_folder
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.backbones.table import BackboneKey
from workers.errors import DatasetError
from workers.storage.atomic import storage_errors
from workers.storage.layout import Storage, check_run_name
from workers.storage.manifest import PlannedImage, read_batches, write_manifest
from workers.storage.plan import LabellingOptions, Plan, TrainingOptions
from workers.storage.run import Run


def plan_training(
    storage: Storage,
    scan: Scan,
    find_backbone: Callable[[], BackboneKey],
    options: TrainingOptions,
    *,
    name: str | None,
    batch_size: int | None,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a run that trains a head; nothing is written unless the whole plan is.

    Args:
        find_backbone: Called once it is known that the folder can give a classifier, since it
            may download weights.

    Raises:
        DatasetError: When the folder cannot give a classifier, with what is needed.
        RunError: When the name is taken or not allowed.
    """
    found = list(scan.images)
    images = [image for image in found if image.label is not None]
    if images and len(images) < len(found):
        scan.ignored["images without a label"] += len(found) - len(images)
    labels = list_labels(images, options.multi_label)
    check_labels(scan, labels, options.multi_label)
    split, warnings = assign_splits(images, options, earlier_exceptions(storage))
    options = replace(options, split_exceptions=split.exceptions)
    rows = len(images) + options.variants * split.splits.count(TRAINING)
    draft = _draft(scan, find_backbone(), batch_size or choose_batch_size(rows))
    concerns = [
        *look_over(scan, found, options.multi_label),
        *judge_sizes(images, options.multi_label),
    ]
    warnings = [*scan.warnings, *warnings, *warn_of(concerns)]
    draft = replace(draft, labels=tuple(labels), training=options, warnings=tuple(warnings))
    planned = zip(images, split.splits, strict=True)
    base = name_after(scan.root)
    return _put_down(storage, draft, planned, len(images), name, base, on_progress)


def plan_again(
    parent: Run,
    backbone: BackboneKey,
    options: TrainingOptions,
    *,
    name: str | None,
    sweep: str | None = None,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a run on the images, labels and splits of another; what is cached is not computed.

    Args:
        sweep: What the trials of a sweep are called when this is one; see `Plan`.

    Raises:
        RunError: When the name is taken or not allowed.
    """
    earlier = parent.plan
    scan = Scan(earlier.root, (), Counter(earlier.ignored))
    draft = _draft(scan, backbone, earlier.batch_size)
    draft = replace(
        draft, labels=earlier.labels, training=options, parent=earlier.name, sweep=sweep
    )
    images = (
        (FoundImage(row.path, row.size, row.version, row.label), row.split)
        for batch in read_batches(parent.folder)
        for row in batch.images
        if not row.variant
    )
    return _put_down(parent.storage, draft, images, earlier.images, name, earlier.name, on_progress)


def plan_labelling(
    storage: Storage,
    scan: Scan,
    backbone: BackboneKey,
    options: LabellingOptions,
    copy_model: Callable[[Path], None],
    *,
    name: str | None,
    batch_size: int | None,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a job that labels every image of a folder.

    Args:
        copy_model: Puts the model's files into the folder it is given.

    Raises:
        DatasetError, RunError: As `plan_training`.
    """
    draft = replace(_draft(scan, backbone, batch_size or 0), labelling=options)
    base = f"{name_after(scan.root)}-labels" if name is None else name
    check_run_name(base)
    with temporary_folder(storage) as temporary:
        with storage_errors(f"write {storage.runs}"):
            copy_model(temporary / "model")
        images = ((image, None) for image in scan.images)
        plan = fill_manifest(storage, temporary, draft, images, on_progress)
        if not plan.images:
            raise DatasetError(no_images(scan))
        plan = replace(plan, ignored=dict(scan.ignored))
        return claim_name(storage, temporary, plan, base, is_exact=name is not None)


def _draft(scan: Scan, backbone: BackboneKey, batch_size: int) -> Plan:
    return Plan(
        name="",
        root=scan.root,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        architecture=backbone.architecture,
        backbone_id=backbone.id,
        weights_digest=backbone.weights_digest,
        images=0,
        batches=0,
        cached=0,
        batch_size=batch_size,
        ignored=dict(scan.ignored),
    )


def _put_down(
    storage: Storage,
    draft: Plan,
    images: Iterable[tuple[FoundImage, str | None]],
    total: int,
    name: str | None,
    base: str,
    on_progress: OnProgress,
) -> Run:
    """Write the plan of a run that trains, called `name`, or BASE-1, BASE-2, ..."""
    chosen = base if name is None else name
    check_run_name(chosen)
    planned = counted(images, lambda n: on_progress(Progress("planning", n, total)))
    with temporary_folder(storage) as temporary:
        plan = fill_manifest(storage, temporary, draft, planned, on_progress)
        return claim_name(storage, temporary, plan, chosen, is_exact=name is not None)


def fill_manifest(
    storage: Storage,
    folder: Path,
    draft: Plan,
    images: Iterable[tuple[FoundImage, str | None]],
    on_progress: OnProgress,
) -> Plan:
    """Write the manifest, and return the plan with what was counted on the way."""
    index = CacheIndex(storage, draft.backbone_id, on_progress, with_failures=not draft.retried)
    counts: Counter[str] = Counter()

    def batches() -> Iterator[tuple[PlannedImage, ...]]:
        rows = plan_rows(draft, index, images)
        for batch in cut_batches(draft, rows, index.unsettled):
            counts["batches"] += 1
            for row in batch:
                counts["variants" if row.variant else "images"] += 1
                counts["cached_variants" if row.variant else "cached"] += row.is_cached
            yield batch

    write_manifest(folder / "manifest.parquet", batches())
    return replace(
        draft,
        images=counts["images"],
        batches=counts["batches"],
        cached=counts["cached"],
        variants=counts["variants"],
        cached_variants=counts["cached_variants"],
    )
