"""``poets runs``, ``show``, ``resume`` and ``cancel``: what runs there are, and each of them."""

from typing import TYPE_CHECKING, Any

import click

from cli import options
from cli.advice import describe_state
from cli.attend import conduct, print_result, show_result
from cli.codelab.files import follow, leave_files, read_flags
from cli.console import Session, echo, print_json, print_table, say, shown_path
from cli.styles import Styled, strong

if TYPE_CHECKING:
    from orchestrator.driving.result import Result
    from orchestrator.runs import RunState
    from workers.storage.plan import Run

_STYLES = {
    "finished": "good",
    "failed": "bad",
    "damaged": "bad",
    "running": "busy",
    "cancelled": "faint",
}


@options.command("runs")
@options.with_session(may_be_quiet=False)
def runs(session: Session) -> None:
    """List the runs and their states, oldest first.

    \b
    Example:
      poets runs
    """
    from orchestrator.runs import list_states
    from workers.storage.root import check_reachable

    states, flags = list_states(session.settings), session.flags
    if session.as_json:
        print_json([_state_to_dict(state, flags) for state in states])
    elif states:
        header = ("run", "kind", "state", "images", "created", "result")
        print_table(header, [_row(state, flags) for state in states])
    else:
        storage = session.settings.storage
        if storage.is_dir():
            check_reachable(storage / "runs" / "run.json")
        say(f"No runs in {storage} yet. Make one with `poets submit-dataset DIR{flags}`.")


@options.command("show")
@click.argument("run", metavar="RUN")
@options.with_session(may_be_quiet=False)
def show(session: Session, run: str) -> None:
    """Show the state of RUN, and its result once it has finished.

    \b
    Example:
      poets show flower_photos-1
    """
    from orchestrator.runs import state_of

    state = state_of(session.settings, _open(session, run))
    if session.as_json:
        print_json(_state_to_dict(state, session.flags))
    elif state.result is not None:
        print_result(state.result, session.flags)
    elif state.plan is not None:
        plan, note = state.plan, describe_state(state, session.flags)
        end = f": {note}" if note else ""
        verb = "has" if state.state == "failed" else "is"
        echo(["Run ", strong(plan.name), f" {verb} ", _styled(state.state), end])
        echo(f"  images        {plan.images:,}")
        echo(f"  folder        {shown_path(plan.root)}")
        echo(f"  batches       {state.batches_done:,} of {plan.batches:,} done")
        echo(f"  architecture  {plan.architecture}")


@options.command("resume")
@click.argument("run", metavar="RUN")
@options.max_failed
@options.with_session(may_detach=True)
def resume(session: Session, run: str) -> None:
    """Continue RUN where it stopped.

    Finished work is not repeated; images that could not be opened are tried again. A run of
    `poets retrain` also writes the graph and the labels that were asked for.

    \b
    Example:
      poets resume flower_photos-1
    """
    from orchestrator.jobs.submit import check_surroundings
    from orchestrator.runs import reopen_run

    opened = _open(session, run)
    check_surroundings(session.settings, session.detach)
    result = reopen_run(opened, session.settings.max_failed)
    flags = read_flags(opened.folder)
    if flags and not session.detach:
        leave_files(session, opened, flags, result or follow(session, opened))
    elif result is None:
        conduct(session, opened)
    else:
        session.say(f"Run {run} has finished already.")
        show_result(session, result)


@options.command("cancel")
@click.argument("run", metavar="RUN")
@options.with_session()
def cancel(session: Session, run: str) -> None:
    """Cancel RUN.

    No more tasks are sent, and queued ones are skipped. What was computed is kept, and other
    runs use it.

    \b
    Example:
      poets cancel flower_photos-1
    """
    from orchestrator.runs import cancel_run
    from workers.storage.making import use_storage

    opened = _open(session, run)
    use_storage(session.settings.storage)
    cancel_run(opened)
    if session.as_json:
        print_json({"run": run, "state": "cancelled"})
    else:
        resume = f"poets resume {run}{session.flags}"
        session.say(f"Run {run} is cancelled. `{resume}` would take it up again.")


def _open(session: Session, run: str) -> "Run":
    from workers.storage.layout import Storage
    from workers.storage.plan import Run

    return Run.open(Storage(session.settings.storage), run)


def _row(state: "RunState", flags: str) -> tuple[object, ...]:
    facts = _state_to_dict(state, flags)
    created = facts["created"][:16].replace("T", " ")
    end = _headline(state.result) if state.result else facts["note"]
    shown = _styled(state.state)
    return strong(state.name), facts["kind"], shown, facts["images"], created, end


def _styled(state: str) -> Styled:
    return Styled(state, _STYLES.get(state, "warning"))


def _headline(result: "Result") -> str:
    """Return the result of a run in a few words."""
    from orchestrator.driving.result import LabellingResult

    if isinstance(result, LabellingResult):
        unsure = f"{result.unsure} unsure, " if result.unsure else ""
        return f"{result.ok} labelled, {unsure}{result.failed} failed"
    for split, accuracy in result.accuracies.items():
        return f"{accuracy:.1%} {split} accuracy"
    return "nothing held out"


def _state_to_dict(state: "RunState", flags: str) -> dict[str, Any]:
    """Return what ``--json`` prints of a run; `flags` as in `describe_state`."""
    from orchestrator.driving.result import to_dict

    plan = state.plan
    return {
        "run": state.name,
        "kind": plan.kind if plan else "label",
        "state": state.state,
        "note": "" if state.result else describe_state(state, flags),
        "created": plan.created if plan else "",
        "folder": plan.root if plan else "",
        "images": plan.images if plan else 0,
        "batches": plan.batches if plan else 0,
        "batches_done": state.batches_done,
        "architecture": plan.architecture if plan else "",
        "result": to_dict(state.result) if state.result else None,
    }
