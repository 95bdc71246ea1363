"""``poets check``: what would spoil a run, before any work."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.advice import describe_error
from cli.console import Session, echo, print_json, print_table
from cli.dataset_summary import describe_links, suggest_other_folder, summarize
from cli.styles import bad, good, strong
from cli.training_options import SPLIT_OPTIONS, training_options
from workers.errors import SmallLabelsError

if TYPE_CHECKING:
    from orchestrator.dataset.check import Check
    from orchestrator.dataset.dataset import Dataset

_EXAMPLES = 3


@options.command("check")
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@options.multi_label
@options.splits
@options.follow_links
@training_options(SPLIT_OPTIONS)
@click.option(
    "--quick",
    "is_quick",
    is_flag=True,
    help="Read headers only: faster, but misses copies and some damage.",
)
@options.with_session()
def command(
    session: Session,
    folder: Path,
    label_file: Path | None,
    splits: str,
    follows_links: bool,
    training: dict[str, Any],
    is_quick: bool,
) -> None:
    """Look in DIR for anything that would spoil a run.

    Reads and decodes every image, and finds unreadable images, wrong file extensions, copies
    under two labels or in two splits, and labels that look alike or are too small. Nothing is
    changed or deleted. The exit code is 1 when something would spoil a run; unreadable images
    alone do not, since a run leaves them out.

    \b
    Examples:
      poets check flower_photos
      poets check holidays --multi-label labels.csv
      poets check flower_photos --json > check.json
    """
    from orchestrator.dataset.check import CheckRequest, check_folder
    from orchestrator.dataset.dataset import Source
    from workers.storage.plan import TrainingOptions

    source = Source(folder, label_file, splits, follows_links)
    request = CheckRequest(source, TrainingOptions(**training), is_quick)
    with session.show_progress() as on_progress:
        show = (lambda _: None) if session.as_json else _print_dataset
        check = check_folder(session.settings, request, on_progress, show)
    if session.as_json:
        print_json(check.to_json())
    else:
        _print_check(check, splits)
    if check.spoils:
        raise click.exceptions.Exit(1)


def _print_dataset(dataset: "Dataset") -> None:
    from orchestrator.dataset.scan import describe_ignored

    echo(*summarize(dataset))
    if ignored := dataset.scan.ignored:
        echo(f"  ignored {describe_ignored(ignored)}")
        if links := describe_links(ignored):
            echo(f"  {links}")


def _print_check(check: "Check", splits: str) -> None:
    from orchestrator.dataset.concerns import KINDS

    images = len(check.dataset.images)
    echo(
        f"  checked in {check.seconds:.1f} s ({images / check.seconds:,.0f} images/s): "
        f"{check.unreadable:,} unreadable"
    )
    found = {kind: count for kind, count in check.counts.items() if count}
    if found:
        echo()
        rows = [
            (count, KINDS[kind].title, bad("yes") if KINDS[kind].spoils else "no")
            for kind, count in found.items()
        ]
        print_table(("count", "what", "spoils a run"), rows)
    for kind in found:
        _print_examples(check, kind)
    if suggestion := suggest_other_folder(check.dataset):
        echo("", suggestion)
    echo()
    if check.is_quick:
        echo("Only headers were read, so copies and damage after the header were not looked for.")
    if check.spoils:
        echo([bad("Something would spoil a run"), ": see what says `yes` above."])
    else:
        command = f"poets submit-dataset {_describe_source(check, splits)}"
        echo([good("Nothing would spoil a run"), f": {command}"])


def _describe_source(check: "Check", splits: str) -> str:
    """Return the folder, and the flags with which a run sees what was checked."""
    flags = f" --splits {splits}" if splits != "auto" else ""
    flags += " --follow-links" if check.dataset.scan.follows_links else ""
    return f"{shlex.quote(check.dataset.scan.root)}{flags}"


def _print_examples(check: "Check", name: str) -> None:
    from orchestrator.dataset.concerns import KINDS

    kind = KINDS[name]
    texts = [concern.text for concern in check.concerns if concern.kind == name]
    if name == "refused":
        texts = _describe_refusals(check)
    echo("", [strong(f"{kind.heading}."), f" {kind.advice}"])
    for text in filter(None, texts[:_EXAMPLES]):
        echo(f"  {text}")
    if len(texts) > _EXAMPLES:
        echo(f"  and {len(texts) - _EXAMPLES:,} more (--json lists all)")


def _describe_refusals(check: "Check") -> list[str]:
    meta = click.get_current_context().meta
    return [
        describe_error(error, meta)
        for error in check.dataset.refusals
        if not isinstance(error, SmallLabelsError)
    ]
