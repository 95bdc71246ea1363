"""Make the immutable plan of a run: run.json and manifest.parquet, before the first task."""

import itertools
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.attended import attended
from orchestrator.dataset.check_names import warn_of_dataset
from orchestrator.dataset.dataset import Dataset
from orchestrator.dataset.scan import FoundImage, Scan, no_images
from orchestrator.dataset.split import TRAINING
from orchestrator.models import LATEST
from orchestrator.planning.batches import choose_batch_size, cut_batches, plan_rows
from orchestrator.planning.cache import CacheIndex
from orchestrator.progress import OnProgress, Progress, counted, ignore
from workers.backbones.table import BackboneKey
from workers.errors import NameTakenError, RunNameError
from workers.heads.model_folder import copy_model
from workers.settings import poets_version
from workers.storage.atomic import note_use, storage_errors
from workers.storage.layout import Storage, check_run_name
from workers.storage.manifest import PlannedImage, read_batches, write_manifest
from workers.storage.plan import MAX_FAILED, LabellingOptions, Plan, Run, TrainingOptions
from workers.storage.root import make_folder
from workers.storage.temporary import temporary_in


def plan_training(
    storage: Storage,
    dataset: Dataset,
    backbone: BackboneKey,
    options: TrainingOptions,
    *,
    name: str | None,
    batch_size: int | None,
    max_failed: float = MAX_FAILED,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a run that trains a head on a data set without refusals; see `write_plan`."""
    scan, total = dataset.scan, len(dataset.images) - dataset.splits.count(None)
    ignored = scan.ignored + Counter({"images without a label": len(dataset.images) - total})
    rows = total + options.variants * dataset.splits.count(TRAINING)
    draft = replace(
        _draft(scan.root, ignored, backbone, batch_size or choose_batch_size(rows)),
        labels=tuple(dataset.labels),
        training=replace(
            options, multi_label=dataset.is_multi_label, split_exceptions=dataset.exceptions
        ),
        given_splits=dataset.given_splits,
        follows_links=scan.follows_links,
        max_failed=max_failed,
        warnings=tuple(warn_of_dataset(dataset)),
    )
    pairs = zip(dataset.images, dataset.splits, strict=True)
    planned = counted(
        ((image, split) for image, split in pairs if split is not None),
        lambda n: on_progress(Progress("planning", n, total)),
    )
    return write_plan(storage, draft, planned, on_progress, name=name, base=_name_after(scan.root))


def plan_again(
    parent: Run,
    backbone: BackboneKey,
    options: TrainingOptions,
    *,
    name: str | None,
    sweep: str | None = None,
    max_failed: float | None = None,
    images: Iterable[tuple[FoundImage, str | None]] | None = None,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a run on the images, labels and splits of another; for errors, see `write_plan`.

    Args:
        images: Those of `parent` with other labels; None for its own.
    """
    earlier = parent.plan
    draft = replace(
        _draft(earlier.root, earlier.ignored, backbone, earlier.batch_size),
        labels=earlier.labels,
        given_splits=earlier.given_splits,
        follows_links=earlier.follows_links,
        max_failed=earlier.max_failed if max_failed is None else max_failed,
        training=options,
        parent=earlier.name,
        sweep=sweep,
    )
    if images is None:
        images = planned_images(parent, on_progress)
    return write_plan(parent.storage, draft, images, on_progress, name=name, base=earlier.name)


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
    max_failed: float = MAX_FAILED,
    on_progress: OnProgress = ignore,
) -> Run:
    """Plan a job that labels every image of a folder; see `write_plan`."""
    return write_plan(
        storage,
        replace(
            _draft(scan.root, {}, backbone, batch_size or 0),
            labelling=options,
            follows_links=scan.follows_links,
            max_failed=max_failed,
        ),
        ((image, None) for image in scan.images),
        on_progress,
        name=name,
        base=f"{_name_after(scan.root)}-labels",
        scan=scan,
        model=model,
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
    on_progress: OnProgress,
    *,
    name: str | None,
    base: str,
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
    check_run_name(base if name is None else name)
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    draft = replace(draft, created=created, poets=poets_version())
    temporary = temporary_in(storage.runs)
    with storage_errors(f"write {storage.runs}"):
        make_folder(storage.runs)
        temporary.mkdir()
    for shared in (storage.backbone(draft.backbone_id), storage.weights(draft.weights_digest)):
        note_use(shared)
    try:
        if model:
            with storage_errors(f"write {storage.runs}"):
                copy_model(model, temporary / "model")
        plan = _write_manifest(storage, temporary, draft, images, on_progress)
        if scan:
            if not plan.images:
                raise no_images(scan)
            plan = replace(plan, ignored=dict(scan.ignored))
        return _claim_name(storage, temporary, plan, name, base)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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

    try:
        write_manifest(folder / "manifest.parquet", batches())
    finally:
        index.save_hashed()
    return replace(
        draft,
        images=counts["images"],
        batches=counts["batches"],
        cached=counts["cached"],
        variants=counts["variants"],
        cached_variants=counts["cached_variants"],
    )


def _claim_name(storage: Storage, temporary: Path, plan: Plan, name: str | None, base: str) -> Run:
    """Give the finished plan its name; renaming a folder is atomic and never overwrites."""
    while True:
        check_name(storage, name)
        named = replace(plan, name=name or free_name(storage, base))
        (temporary / "run.json").write_bytes(named.to_json())
        folder = storage.run(named.name)
        run = Run(storage, folder, named)
        attended.append(run)
        with storage_errors(f"write {folder.path}"):
            try:
                temporary.rename(folder.path)
                return run
            except OSError:
                attended.remove(run)
                # Another process may have taken the name meanwhile.
                if not folder.path.exists():
                    raise


def check_name(storage: Storage, name: str | None) -> None:
    """Refuse a name that a new run cannot have.

    Raises:
        NameTakenError: When another run has it.
        RunError: When it is not allowed.
    """
    if name == LATEST:
        raise RunNameError(f"{name!r} stands for the newest model, so no run can have this name.")
    if name is not None and storage.run(name).path.exists():
        raise NameTakenError(f"There is a run {name!r} already.", name)


def free_name(storage: Storage, base: str) -> str:
    """Return the first of BASE-1, BASE-2, ... that no run has yet."""
    names = (f"{base}-{number}" for number in itertools.count(1))
    return next(name for name in names if not storage.run(name).path.exists())


def _name_after(root: str) -> str:
    """Return what a run over this folder is called, but for its number."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", root.rstrip("/").rsplit("/", 1)[-1]).strip("-._")
    return slug[:60] or "run"
