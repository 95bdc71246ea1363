"""``poets classify-dir``: one row for each image below a folder."""

import functools
from pathlib import Path

import click

from cli import options
from cli.attend import conduct
from cli.console import Session
from cli.dataset_summary import describe_links
from cli.model_choice import say_model

_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


@options.command("classify-dir")
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@options.follow_links
@options.model
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("labels.csv"),
    show_default=True,
    help="File to write; its extension chooses the format.",
)
@click.option("--force", is_flag=True, help="Overwrite the output if it exists.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Format of the output. [by its extension]",
)
@click.option(
    "--excel",
    is_flag=True,
    help="Write CSV for spreadsheets: with a byte order mark, and an apostrophe before what "
    "would be a formula.",
)
@click.option(
    "--top-k",
    metavar="N",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Labels in each row.",
)
@click.option("--name", help="Name of the job. [DIR-labels-1, ...]")
@options.max_failed
@options.batch_size
@options.with_session(may_detach=True)
def command(
    session: Session,
    folder: Path,
    follows_links: bool,
    model: str | None,
    output: Path,
    force: bool,
    file_format: str | None,
    excel: bool,
    top_k: int,
    name: str | None,
    batch_size: int | None,
) -> None:
    """Label every image below DIR.

    Writes one row for each image. An image that cannot be read has a row with the reason; it
    never ends the job. With a model that was trained for a --target-precision, the status of
    an image is `unsure` when its score is too low for that.

    \b
    Examples:
      poets classify-dir holiday_photos
      poets classify-dir holiday_photos --model spring --output spring.parquet
    """
    file_format = file_format or _FORMATS.get(output.suffix.lower())
    if file_format is None:
        raise click.UsageError(
            f"The ending of {str(output)!r} names no format. Use .csv, .jsonl or .parquet, "
            "or give --format."
        )
    if excel and file_format != "csv":
        raise click.UsageError("--excel writes CSV: give an --output that ends in .csv.")
    file_format = "excel" if excel else file_format
    from orchestrator.embedded.users import start_ahead

    with start_ahead(session.settings):
        from orchestrator.dataset.scan import describe_ignored
        from orchestrator.jobs.submit import LabellingRequest, plan_classification

        request = LabellingRequest(
            folder,
            model,
            output,
            file_format,
            top_k,
            force,
            name,
            batch_size,
            session.detach,
            follows_links,
        )
        with session.show_progress() as on_progress:
            tell = functools.partial(say_model, session)
            job = plan_classification(session.settings, request, on_progress, tell)
        ignored = job.plan.ignored
        passed = f", ignored: {describe_ignored(ignored)}" if ignored else ""
        session.say(f"Job {job.name}: {job.plan.images:,} images{passed}")
        if links := describe_links(ignored):
            session.say(links)
        conduct(session, job)
