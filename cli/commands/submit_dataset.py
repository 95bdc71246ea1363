"""``poets submit-dataset``: a folder of label folders becomes a classifier."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.attend import assert_accuracy, conduct
from cli.console import Session
from cli.dataset_summary import describe_links, suggest_other_folder, summarize
from cli.percentages import Percentage
from cli.styles import warning
from cli.training_options import (
    DISTORTION_OPTIONS,
    HEAD_OPTIONS,
    SPLIT_OPTIONS,
    training_options,
)

if TYPE_CHECKING:
    from orchestrator.dataset.dataset import Dataset
    from workers.storage.plan import Plan


@options.command("submit-dataset")
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option("--name", help="Name of the run. [DIR-1, DIR-2, ...]")
@options.architecture
@options.multi_label
@options.splits
@options.follow_links
@training_options(SPLIT_OPTIONS, HEAD_OPTIONS, DISTORTION_OPTIONS)
@options.weights
@click.option(
    "--assert-accuracy-at-least",
    "least_accuracy",
    type=Percentage(gives_share=True),
    metavar="PERCENT",
    help="End with exit code 1 if the test accuracy is lower than this, such as 90%.",
)
@options.max_failed
@options.batch_size
@options.with_session(may_detach=True)
def command(
    session: Session,
    folder: Path,
    name: str | None,
    architecture: str,
    label_file: Path | None,
    splits: str,
    follows_links: bool,
    training: dict[str, Any],
    weights: str | None,
    least_accuracy: float | None,
    batch_size: int | None,
) -> None:
    """Train a classifier on the photographs in DIR.

    DIR holds one folder for each label, with its images at any depth. If these folders are in
    folders named train, val, test and the like, their splits are used. With --multi-label, a
    CSV file lists the labels of each image: a column `path`, and either a column `labels`
    (such as beach;people) or a column of 0 and 1 for each label.

    \b
    Examples:
      poets submit-dataset flower_photos
      poets submit-dataset flower_photos --name spring --architecture inception_v3
      poets submit-dataset flower_photos --flip-left-right --random-crop 10%
      poets submit-dataset flower_photos --target-precision 98%
      poets submit-dataset holidays --multi-label labels.csv
    """
    if session.detach and least_accuracy is not None:
        raise click.UsageError("--assert-accuracy-at-least waits for the end; leave out --detach.")
    from orchestrator.embedded.users import start_ahead

    with start_ahead(session.settings):
        from orchestrator.dataset.dataset import Source
        from orchestrator.jobs.submit import TrainingRequest, plan_submission
        from orchestrator.planning.batches import choose_variants
        from workers.storage.plan import TrainingOptions

        request = TrainingRequest(
            Source(folder, label_file, splits, follows_links),
            architecture,
            choose_variants(TrainingOptions(**training), training.get("variants")),
            name,
            weights,
            batch_size,
            session.detach,
        )
        with session.show_progress() as on_progress:
            run = plan_submission(
                session.settings, request, on_progress, lambda found: _say_dataset(session, found)
            )
        _say_plan(session, run.plan)
        result = conduct(session, run)
    if result is not None and least_accuracy is not None:
        assert_accuracy(result, least_accuracy)


def _say_dataset(session: Session, dataset: "Dataset") -> None:
    from orchestrator.dataset.check_names import warn_of_dataset

    session.say(*summarize(dataset))
    if links := describe_links(dataset.scan.ignored):
        session.say(links)
    warnings = warn_of_dataset(dataset)
    for text in warnings:
        session.say([warning("Warning: "), text])
    if warnings:
        session.say("`poets check` of the folder lists all of these, and reads the images.")
    if suggestion := suggest_other_folder(dataset):
        session.say(suggestion)


def _say_plan(session: Session, plan: "Plan") -> None:
    from orchestrator.dataset.scan import describe_ignored

    ignored = f", ignored: {describe_ignored(plan.ignored)}" if plan.ignored else ""
    distorted = (
        f", {plan.variants:,} variants of training images, {plan.cached_variants:,} of them known"
        if plan.variants
        else ""
    )
    session.say(
        f"Run {plan.name}: {plan.images:,} images, {len(plan.labels)} labels, "
        f"{plan.cached:,} known already{distorted}{ignored}"
    )
