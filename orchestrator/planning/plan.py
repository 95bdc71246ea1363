"""Make the immutable plan of a run: run.json and manifest.parquet, before the first task."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.dataset.check_names import check_names, check_sizes
from orchestrator.dataset.concerns import warn_of
from orchestrator.dataset.dataset import Dataset
from orchestrator.dataset.scan import FoundImage, Scan, describe_no_images
from orchestrator.dataset.split import TRAINING
from orchestrator.planning.batches import choose_batch_size, cut_batches, plan_rows
from orchestrator.planning.cache import CacheIndex
from orchestrator.planning.run_names import claim_name, name_after, temporary_folder
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.backbones.table import BackboneKey
from workers.errors import DatasetError
from workers.heads.model_folder import copy_model
from workers.storage.atomic import storage_errors
from workers.storage.layout import Storage, check_run_name
from workers.storage.manifest import PlannedImage, read_batches, write_manifest
from workers.storage.plan import LabellingOptions, Plan, Run, TrainingOptions


def plan_training(
    storage: Storage,
    dataset: Dataset,
    backbone: BackboneKey,
    options: TrainingOptions,
    *,
    name: str | None,
    batch_size: int | None,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a run that trains a head; nothing is written unless the whole plan is.

    Args:
        dataset: One without refusals.

    Raises:
        RunError: When the name is taken or not allowed.
    """
    scan, total = dataset.scan, len(dataset.images) - dataset.splits.count(None)
    ignored = scan.ignored + Counter({"images without a label": len(dataset.images) - total})
    rows = total + options.variants * dataset.splits.count(TRAINING)
    concerns = [*check_names(dataset), *check_sizes(dataset)]
    draft = replace(
        _draft(scan.root, ignored, backbone, batch_size or choose_batch_size(rows)),
        labels=tuple(dataset.labels),
        training=replace(
            options, multi_label=dataset.is_multi_label, split_exceptions=dataset.exceptions
        ),
        warnings=(*dataset.remarks, *warn_of(concerns)),
    )
    pairs = zip(dataset.images, dataset.splits, strict=True)
    planned = counted(
        ((image, split) for image, split in pairs if split is not None),
        lambda n: on_progress(Progress("planning", n, total)),
    )
    base = name_after(scan.root)
    return write_plan(storage, draft, planned, name=name, base=base, on_progress=on_progress)


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
    draft = replace(
        _draft(earlier.root, earlier.ignored, backbone, earlier.batch_size),
        labels=earlier.labels,
        training=options,
        parent=earlier.name,
        sweep=sweep,
    )
    return write_plan(
        parent.storage,
        draft,
        planned_images(parent, on_progress),
        name=name,
        base=earlier.name,
        on_progress=on_progress,
    )


def planned_images(run: Run, on_progress: OnProgress) -> Iterator[tuple[FoundImage, str | None]]:
    """Yield the images of a run, without their variants, and the split of each."""
    images = (
        (FoundImage(row.path, row.size, row.version, row.label), row.split)
        for batch in read_batches(run.folder)
        for row in batch.images
        if not row.variant
    )
    return counted(images, lambda n: on_progress(Progress("planning", n, run.plan.images)))


def plan_labelling(
    storage: Storage,
    scan: Scan,
    backbone: BackboneKey,
    options: LabellingOptions,
    model: Path,
    *,
    name: str | None,
    batch_size: int | None,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a job that labels every image of a folder.

    Args:
        model: Folder of the model, which is copied.

    Raises:
        DatasetError: When the folder holds no image.
        RunError: When the name is taken or not allowed.
    """
    return write_plan(
        storage,
        replace(_draft(scan.root, {}, backbone, batch_size or 0), labelling=options),
        ((image, None) for image in scan.images),
        name=name,
        base=f"{name_after(scan.root)}-labels",
        scan=scan,
        model=model,
        on_progress=on_progress,
    )


def _draft(root: str, ignored: Mapping[str, int], backbone: BackboneKey, batch_size: int) -> Plan:
    """Return a plan without its name, time and counts, which `write_plan` fills in."""
    return Plan(
        name="",
        root=root,
        created="",
        architecture=backbone.architecture,
        backbone_id=backbone.id,
        weights_digest=backbone.weights_digest,
        images=0,
        batches=0,
        cached=0,
        batch_size=batch_size,
        ignored=dict(ignored),
    )


def write_plan(
    storage: Storage,
    draft: Plan,
    images: Iterable[tuple[FoundImage, str | None]],
    *,
    name: str | None,
    base: str,
    on_progress: OnProgress,
    scan: Scan | None = None,
    model: Path | None = None,
) -> Run:
    """Write the plan of a run called `name`, or BASE-1, BASE-2, ...; the whole of it or nothing.

    Args:
        scan: Where the images come from, if what it ignores is known only after the last one.
        model: Folder of the model that the run labels with; it is copied.

    Raises:
        DatasetError: When the scan found no image.
        RunError: When the name is taken or not allowed.
    """
    chosen = base if name is None else name
    check_run_name(chosen)
    draft = replace(draft, created=datetime.now(UTC).isoformat(timespec="milliseconds"))
    with temporary_folder(storage) as temporary:
        if model:
            with storage_errors(f"write {storage.runs}"):
                copy_model(model, temporary / "model")
        plan = _write_manifest(storage, temporary, draft, images, on_progress)
        if scan:
            if not plan.images:
                raise DatasetError(describe_no_images(scan))
            plan = replace(plan, ignored=dict(scan.ignored))
        return claim_name(storage, temporary, plan, chosen, is_exact=name is not None)


def _write_manifest(
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
