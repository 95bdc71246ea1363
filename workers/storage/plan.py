"""run.json: what a run is, written once before its first task."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from workers.backbones.table import BackboneKey
from workers.errors import NoRunError, NoStorageError, RunError
from workers.images.distortions import Recipe
from workers.storage.layout import RunFolder, Storage
from workers.storage.regular_files import read_regular_file
from workers.storage.root import check_reachable
from workers.storage.versioned_json import OtherVersionError, decode_versioned

PLAN_VERSION = 1
MAX_FAILED = 0.05
# Fields of TrainingOptions that only "sgd" uses: those that shape the head, and those for
# what is measured and kept on the way to it.
OF_SGD = ("steps", "learning_rate", "train_batch_size")
OF_THE_CURVE = ("eval_step_interval", "validation_batch_size", "store_interval")


@dataclass(frozen=True)
class TrainingOptions:
    """How the head is fitted and how images are held out.

    Attributes:
        solver: "lbfgs" (default; the convex problem solved) or "sgd" (as the codelab).
        steps, learning_rate, train_batch_size: For "sgd" only; a batch of -1 is all images.
        seed: Salts the split, seeds the solver and the distortions.
        flip_left_right, random_crop, random_scale, random_brightness: How the variants of
            training images are distorted, in percent (see workers.images.distortions).
        variants: Number of variants of each training image.
        class_weight: "none", or "balanced": every label has the same total weight ("sgd" draws a
            label first, then one of its images).
        target_precision: Share of the images that labelling calls sure that is to have the
            right label, 0 to 1; None for no threshold.
        eval_step_interval, validation_batch_size: For the learning curve of "sgd": steps
            between two points, and validation images drawn for each; -1 for all of them,
            0 for none.
        store_interval: Steps of "sgd" between two heads that are kept on the way; 0 for none.
        evaluate_test: False for a trial of a sweep: only the best may see the test split.
        multi_label: Whether an image has any number of labels; the manifest then holds them
            as `workers.storage.label_sets` writes them.
        split_exceptions: Names that hashing alone would have put elsewhere, with their
            split; later runs keep them (see orchestrator.dataset.split).
    """

    # `int | float`, so that a whole number is read and written as it was given.
    testing_percentage: int | float = 10
    validation_percentage: int | float = 10
    seed: int = 0
    solver: str = "lbfgs"
    steps: int = 4000
    learning_rate: int | float = 0.01
    train_batch_size: int = 100
    eval_step_interval: int = 10
    validation_batch_size: int = 100
    store_interval: int = 0
    flip_left_right: bool = False
    random_crop: int = 0
    random_scale: int = 0
    random_brightness: int = 0
    variants: int = 0
    class_weight: str = "none"
    target_precision: int | float | None = None
    evaluate_test: bool = True
    multi_label: bool = False
    split_exceptions: dict[str, str] = field(default_factory=dict)

    @property
    def distorts(self) -> bool:
        """Whether any distortion was asked for."""
        percents = (self.random_crop, self.random_scale, self.random_brightness)
        return self.flip_left_right or any(percents)

    def recipe(self, variant: int) -> Recipe | None:
        """Return how a variant is made, counted from 1; None for 0, the image as it is."""
        if not variant:
            return None
        return Recipe(
            self.flip_left_right,
            self.random_crop,
            self.random_scale,
            self.random_brightness,
            self.seed,
            variant,
        )


@dataclass(frozen=True)
class LabellingOptions:
    """What a bulk labelling job writes, and where.

    The model itself is copied into the job's folder, so it cannot change under way.
    """

    model: str
    output: str
    format: str
    top_k: int
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run: `training` is set for submit-dataset, `labelling` for classify-dir.

    Attributes:
        images, variants: Rows of the manifest that are photographs, and that are variants.
        cached, cached_variants: Those of them whose bottlenecks were known.
        warnings: Sentences to show before the training.
        retried: Images that had failed in the run `parent` and are tried again.
        poets: Version that planned it; empty before plans said so.
        sweep: What the trials of its sweep are called, but for their number; None when it
            is no trial.
        given_splits: The splits that folders of the data set name; the others were taken out of
            training by hashing.
        follows_links: Whether images may be links, or in folders that are.
        max_failed: Which part of the images may be unreachable at its end, 0 to 1.
    """

    name: str
    root: str
    created: str
    architecture: str
    backbone_id: str
    weights_digest: str
    images: int
    batches: int
    cached: int
    batch_size: int
    labels: tuple[str, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    training: TrainingOptions | None = None
    labelling: LabellingOptions | None = None
    parent: str | None = None
    variants: int = 0
    cached_variants: int = 0
    warnings: tuple[str, ...] = ()
    retried: int = 0
    version: int = PLAN_VERSION
    poets: str = ""
    sweep: str | None = None
    given_splits: tuple[str, ...] = ()
    follows_links: bool = False
    max_failed: int | float = MAX_FAILED

    @property
    def kind(self) -> Literal["train", "label"]:
        return "train" if self.training else "label"

    @property
    def backbone(self) -> BackboneKey:
        return BackboneKey(self.architecture, self.weights_digest, self.backbone_id)

    @property
    def holds_out_validation(self) -> bool:
        """Whether there is a validation split."""
        percentage = self.training.validation_percentage if self.training else 0
        return percentage > 0 or "validation" in self.given_splits

    def to_json(self) -> bytes:
        values = asdict(self)
        for name in ("poets", "sweep", "given_splits", "follows_links"):
            if not values[name]:
                del values[name]  # as every plan was before there was such a field
        if self.max_failed == MAX_FAILED:
            del values["max_failed"]
        return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Run:
    """A planned run. Its folder tells how far it is; its plan never changes."""

    storage: Storage
    folder: RunFolder
    plan: Plan

    @classmethod
    def open(cls, storage: Storage, name: str) -> "Run":
        """Return a run that was planned before.

        Raises:
            RunError: When there is no such run, or its plan cannot be read.
        """
        folder = storage.run(name)
        plan = read_plan(folder)
        if plan.name != name and plan.name.lower() == name.lower():
            # The file system knows no case, but Redis does, where runs are locked by name.
            folder = storage.run(plan.name)
        return cls(storage, folder, plan)

    @property
    def name(self) -> str:
        return self.folder.name

    def shard(self, name: str) -> Path:
        """Return where the bottlenecks of a shard are, which other runs may share."""
        return self.storage.shard(self.plan.backbone_id, name)


def read_plan(folder: RunFolder) -> Plan:
    """Return the plan of a run.

    Raises:
        RunError: When there is no such run, or a newer poets wrote it.
    """
    try:
        return decode_versioned(read_regular_file(folder.plan), Plan, PLAN_VERSION)
    except FileNotFoundError as error:
        why = ""
        try:
            check_reachable(folder.plan)
        except NoStorageError as gone:
            why = f" {gone}"
        raise NoRunError(
            f"There is no run {folder.name!r} in {folder.path.parent}.{why}"
        ) from error
    except OSError as error:
        raise RunError(f"The plan {folder.plan} cannot be read: {error}.") from error
    except OtherVersionError as error:
        raise RunError(
            f"Run {folder.name!r} has plan version {error}; this poets reads {PLAN_VERSION}. "
            "Use the version of poets that made it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"The plan {folder.plan} is damaged: {error}.") from error


def list_runs(runs: Path) -> list[RunFolder]:
    """Return the folders of all planned runs, oldest first."""
    found = [RunFolder(path.parent) for path in runs.glob("[!.]*/run.json")]
    return sorted(found, key=lambda folder: (folder.plan.stat().st_mtime, folder.name))
