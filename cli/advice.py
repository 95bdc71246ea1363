"""What to type next: the one place that turns errors and states of runs into commands."""

import contextlib
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from orchestrator.attended import leave_runs
from workers.errors import (
    AmbiguousModelError,
    AmbiguousSplitsError,
    EarlierExportError,
    FailedSweepError,
    LabellingJobError,
    LinksNotFollowedError,
    NameTakenError,
    NoBrokerError,
    NoCoordinatorError,
    NoDistortionError,
    NoHomeError,
    NoModelError,
    NoModelYetError,
    NoRunError,
    NoStorageError,
    NoWeightsError,
    OtherFolderError,
    OtherStackError,
    OutputExistsError,
    PoetsError,
    PortTakenError,
    RunDrivenError,
    RunNeededError,
    StorageGoneError,
    TargetError,
    TooManyFailedError,
    UnfinishedRunError,
    UnknownArchitectureError,
    UnknownModelError,
)
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.progress import OnProgress, Progress
    from orchestrator.runs import RunState

_SETTINGS = "poets.settings"
_RESUME = "What is done is kept; continue with `poets resume {run}`."
# {run}: its name, with the flags that lead to its storage and broker. {flags}: these alone.
# {folder}: another folder.
# {file}, {url}: weights that are missing.
_AFTER_ERROR: dict[type[PoetsError], str] = {
    NoRunError: "`poets runs{flags}` lists the runs there are.",
    NameTakenError: "Choose another --name, or look at it with `poets show {run}`, or continue "
    "it: `poets resume {run}`.",
    NoHomeError: "Name a folder for everything with --storage or POETS_STORAGE, or set HOME.",
    RunDrivenError: "Stop it first with `poets cancel {run}`.",
    RunNeededError: "Delete both, or wait for its end: `poets show {run}`.",
    UnfinishedRunError: "Bring it to its end with `poets resume {run}`, then try its failed "
    "images again.",
    FailedSweepError: "`poets sweep {run}` with the same values starts again; no bottleneck is "
    "computed twice.",
    TooManyFailedError: "Once the workers can open them, `poets resume {run}` computes only these; "
    "if they are gone for good, leave them out with `poets resume {run} --max-failed 100%`.",
    NoCoordinatorError: "Start `poets coordinator` beside the workers, or leave out --detach.",
    LabellingJobError: "Give a run of `poets submit-dataset`; `poets runs{flags}` lists them.",
    AmbiguousSplitsError: "Use them as splits with --splits folders, which leaves out images that "
    "are in no label's folder of a split, or take them for labels with --splits hash.",
    LinksNotFollowedError: "Follow them with --follow-links (`poets submit-dataset`, `check`, "
    "`classify-dir`); every worker must see where they lead.",
    NoWeightsError: "Put the file {file} into {folder} or a folder that --weights-dir, "
    "POETS_WEIGHTS_DIR or, for `poets retrain`, --model_dir names; Keras publishes it as {url}",
    OtherFolderError: "Try `poets submit-dataset {folder}{flags}`.",
    OutputExistsError: "Use --force to overwrite it, or --output.",
    EarlierExportError: "Give another folder with --to, or --force.",
    TargetError: "Give another folder with --to.",
    NoModelError: "Make one with `poets submit-dataset DIR{flags}`, or give one with --model.",
    NoModelYetError: "See `poets show {run}`.",
    AmbiguousModelError: "Write --model {folder} for the run, or begin the folder with ./.",
    UnknownModelError: "`poets runs{flags}` lists the runs.",
    UnknownArchitectureError: "`poets architectures` lists all.",
    NoDistortionError: "Add --flip-left-right, --random-crop, --random-scale or "
    "--random-brightness.",
    PortTakenError: "Give another --port.",
    NoBrokerError: "Give --broker-url or POETS_BROKER_URL, or start the embedded stack with "
    "`poets up`.",
    OtherStackError: "Stop it with `poets down{flags}` first.",
    NoStorageError: "Mount it, or correct --storage or POETS_STORAGE. `poets submit-dataset DIR` "
    "makes a new one where there is none.",
    StorageGoneError: "When it is there again, continue with `poets resume {run}`.",
}


def remember(settings: Settings) -> None:
    """Note the settings of this command, for the flags in what is said of its errors."""
    click.get_current_context().meta[_SETTINGS] = settings


def describe_error(error: PoetsError, meta: dict[str, Any]) -> str:
    """Return what happened, and what to do.

    Args:
        meta: That of the command's context.
    """
    known = (text for kind, text in _AFTER_ERROR.items() if isinstance(error, kind))
    advice = next(known, _RESUME if error.run else "")
    flags = _flags(meta)
    data = {name: getattr(error, name, "") for name in ("folder", "file", "url")}
    if isinstance(error, OtherFolderError):
        data["folder"] = shlex.quote(error.folder)
    if not advice:
        return str(error)
    # A reason may be the message of a library, which ends as it likes.
    what = str(error) if str(error).endswith((".", "?", "!")) else f"{error}."
    return f"{what} {advice.format(run=f'{error.run}{flags}', flags=flags, **data)}"


def describe_interrupt(meta: dict[str, Any]) -> str:
    """Pause the runs of this command that have not ended; return what to do, for a person.

    Args:
        meta: That of the command's context.
    """
    run = leave_runs()
    if run is None:
        return "Interrupted."
    name = f"{run.name}{_flags(meta)}"
    if run.folder.result.exists():
        return f"Interrupted. Run {run.name} has finished: see `poets show {name}`."
    if run.folder.detached.exists():
        return f"Interrupted. Run {run.name} is left to a coordinator: see `poets show {name}`."
    return f"Stopped. Continue with `poets resume {name}`."


def _flags(meta: dict[str, Any]) -> str:
    settings = meta.get(_SETTINGS)
    return needed_flags(settings) if settings else ""


def with_advice(on_progress: "OnProgress", settings: Settings) -> "OnProgress":
    """Return an `on_progress` that also shows what to do when no worker takes the work."""

    def show(progress: "Progress") -> None:
        if progress.is_unattended and not progress.problem:
            advice = _why_unattended(settings)
            progress = replace(progress, problem=f"no worker takes the work; {advice}")
        on_progress(progress)

    return show


def _why_unattended(settings: Settings) -> str:
    from redis import RedisError

    from orchestrator.embedded.stack import find_stack
    from workers.leases import connect, waiting_workers

    if settings.broker_url is None:
        return f"the log of the stack may say why: {find_stack(settings).log}"
    client = connect(settings.broker_url)
    with contextlib.suppress(RedisError):
        for name, reason in waiting_workers(client).items():
            return f"the worker {name} waits: {reason}"
    return "is one running? (`poets worker`, `poets doctor`)"


def describe_state(state: "RunState", flags: str) -> str:
    """Return why a run is in its state and what to do; "" where the state says it all.

    Args:
        flags: Those that lead to its storage and broker; see `needed_flags`.
    """
    if state.state == "cancelled":
        return f"`poets resume {state.name}{flags}` continues it"
    if state.situation is None:
        again = (
            f" `poets resume {state.name}{flags}` tries these again" if state.is_mendable else ""
        )
        return f"{state.reason}{again}"
    resume = _how_to_continue(state, flags)
    wait = f"cannot continue now: {state.reason}; tried again every minute"
    mend = f"could not continue: {state.reason}; when that is mended, {resume}"
    notes = {
        "DRIVEN": wait if state.reason else "",
        "AWAITS_COORDINATOR": "a coordinator takes it up",
        "AWAITS_SWEEP": "waits for the other trials of its sweep",
        "STARTING": "is starting",
        "STOPPED": mend if state.reason else resume,
        "UNKNOWN": f"the broker does not say whether it is driven; {resume}, or joins it",
        "NO_COORDINATOR": f"no coordinator is up to drive it; {resume}",
        "ABANDONED": f"nobody drives it; {resume}",
    }
    return notes[state.situation.name]


def _how_to_continue(state: "RunState", flags: str) -> str:
    from orchestrator.driving.who_drives import sweep_of

    if state.plan and sweep_of(state.plan):
        again = f"`poets sweep {state.plan.parent}{flags}` with the same values starts again"
        return f"its sweep is over; {again}"
    return f"`poets resume {state.name}{flags}` continues it"
