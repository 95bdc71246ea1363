"""``poets delete`` and ``poets gc``: runs that nobody wants, and what no run needs."""

import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from cli import options
from cli.console import Session, print_json, print_table, say
from workers.errors import StorageError, UsageError

if TYPE_CHECKING:
    from orchestrator.cleaning.garbage import Garbage

_DAY_S, _DAYS = 24 * 3600.0, 30
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@options.command("delete")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@_yes
@options.with_session()
def delete(session: Session, runs: tuple[str, ...], yes: bool) -> None:
    """Delete each RUN: its model, report and predictions.

    Photographs and the output of labelling jobs stay, and so do bottlenecks, which other runs
    may use (see `poets gc`). A run that is driven, or that an unfinished run was made from, is
    refused.

    \b
    Examples:
      poets delete flower_photos-1
      poets delete flower_photos-1 flower_photos-2 --yes
    """
    from orchestrator.cleaning.delete import delete_run, find_deletable

    found = find_deletable(session.settings, runs)
    total = _describe(sum(one.files for one in found), sum(one.bytes for one in found))
    if not yes:
        _check_terminal()
        for one in found:
            say(f"{one.folder.name}: {_describe(one.files, one.bytes)} in {one.folder.path}")
        _ask(f"Delete {'this run' if len(found) == 1 else f'these {len(found)} runs'}?")
    for one in found:
        delete_run(session.settings, one)
        session.say(f"Run {one.folder.name} is deleted.")
    if session.as_json:
        rows = [{"run": one.folder.name, "files": one.files, "bytes": one.bytes} for one in found]
        print_json({"deleted": rows})
    else:
        session.say(f"{total} deleted.")


@options.command("gc")
@click.option(
    "--older-than",
    "days",
    type=options.FiniteRange(0, 36500),
    default=_DAYS,
    show_default=True,
    metavar="DAYS",
    help="Time without use after which bottlenecks, backbones and weights of no run may go.",
)
@click.option("--yes", "--delete", "-y", is_flag=True, help="Delete it; without, only show it.")
@options.with_session()
def gc(session: Session, days: float, yes: bool) -> None:
    """Find what no run needs in the storage, and delete it.

    That is what killed processes left half-written, damaged shards, bottlenecks, backbones and
    weights that no run refers to, and what embedded stacks left on this machine. What a live
    process is writing stays, and so do photographs and outputs. Without --yes, nothing is deleted.

    \b
    Examples:
      poets gc
      poets gc --older-than 7 --yes
    """
    from orchestrator.cleaning.garbage import IN_USE, find_garbage, remove_garbage

    findings = find_garbage(session.settings, days * _DAY_S)
    kept: list[tuple[Garbage, str]] = []
    if yes:
        outcomes = list(remove_garbage(session.settings, findings))
        kept = [(one, reason) for one, reason in outcomes if reason]
    left = {one.path for one, _ in kept}
    removed = [one for one in findings.garbage if yes and one.path not in left]
    if session.as_json:
        reasons = {one.path: reason for one, reason in kept}
        rows = [
            {
                "kind": one.kind,
                "path": str(one.path),
                "files": one.files,
                "bytes": one.bytes,
                "deleted": one in removed,
                "reason": reasons.get(one.path, ""),
            }
            for one in findings.garbage
        ]
        print_json({"garbage": rows, "notes": findings.notes})
    else:
        again = f"poets gc --yes{'' if days == _DAYS else f' --older-than {days:g}'}{session.flags}"
        _show(session, findings.garbage, removed if yes else None, again)
    for note in findings.notes:
        session.say(note)
    for one, reason in kept:
        session.say(f"Kept {one.path}: {reason}.")
    failed = [one for one, reason in kept if reason != IN_USE]
    if failed:
        raise StorageError(f"{len(failed)} of {len(findings.garbage)} could not be deleted.")


def _show(
    session: Session, found: "list[Garbage]", removed: "list[Garbage] | None", again: str
) -> None:
    from orchestrator.cleaning.garbage import KINDS

    if not found:
        session.say("There is nothing that no run needs.")
        return
    files, sizes = Counter[str](), Counter[str]()
    for one in found:
        files[one.kind] += one.files
        sizes[one.kind] += one.bytes
    rows = [
        (text, files[kind], _size(sizes[kind])) for kind, text in KINDS.items() if kind in files
    ]
    print_table(("what", "files", "size"), rows)
    shown = found if removed is None else removed
    total = _describe(sum(one.files for one in shown), sum(one.bytes for one in shown))
    if removed is None:
        session.say(f"Nothing was deleted. `{again}` deletes {total}.")
    else:
        session.say(f"{total} deleted.")


def _describe(files: int, size: int) -> str:
    return f"{files:,} {'file' if files == 1 else 'files'}, {_size(size)}"


def _size(size: int) -> str:
    """Return a number of bytes for a person: ``512 bytes``, ``2.5 MB``."""
    if size < 1000:
        return f"{size} bytes"
    power = 1 if size < 1e6 else 2 if size < 1e9 else 3
    return f"{size / 1000**power:,.1f} {['kB', 'MB', 'GB'][power - 1]}"


def _check_terminal() -> None:
    if not _has_terminal():
        raise UsageError("There is no terminal to ask on, so nothing was deleted. Give --yes.")


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(question: str) -> None:
    """Ask on the terminal, and end the command if the answer is no."""
    if not click.confirm(question, err=True):
        say("Nothing was deleted.")
        raise click.exceptions.Exit(1)
