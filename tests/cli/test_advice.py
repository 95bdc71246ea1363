"""What to type next, after an error and for a run in some state."""

from dataclasses import replace

import pytest

from cli.advice import describe_error, describe_state, with_advice
from orchestrator.driving.who_drives import Situation
from orchestrator.embedded.stack import find_stack
from orchestrator.progress import Progress
from orchestrator.runs import RunState
from tests.builders.runs import make_plan
from workers.errors import (
    LabellingJobError,
    ModelError,
    NameTakenError,
    NoModelError,
    NoModelYetError,
    NoRunError,
    OtherFolderError,
    OtherStackError,
    PoetsError,
    RunError,
    StorageGoneError,
    UnfinishedRunError,
    UnknownModelError,
    UsageError,
)
from workers.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RunError("Run 'run' failed: bad."), "Run 'run' failed: bad."),
        (RunError("A library says: x", "run"), "x. What is done is kept; continue with `poets"),
        (RunError("Stopped.", "run"), "is kept; continue with `poets resume run`."),
        (UsageError("Not overwritten.", "run"), "is kept; continue with `poets resume run`."),
        (StorageGoneError("Gone.", "run"), "is there again, continue with `poets resume run`."),
        (NameTakenError("Taken.", "run"), "`poets show run`, or continue it: `poets resume run`."),
        (UnfinishedRunError("No.", "run"), "Bring it to its end with `poets resume run`"),
        (NoRunError("None."), "`poets runs` lists"),
        (NoModelYetError("None.", "run"), "`poets show run`"),
        (ModelError("Damaged."), "Damaged."),
    ],
)
def test_an_error_is_followed_by_the_command_that_helps(error, expected):
    text = describe_error(error, {"poets.settings": load_settings()})

    assert text.startswith(str(error))
    assert text.endswith(expected) or expected in text


def test_a_command_has_the_flags_that_lead_to_the_storage_and_the_broker(tmp_path):
    settings = Settings(tmp_path / "else where", "redis://:secret@host")

    text = describe_error(RunError("Stopped.", "run"), {"poets.settings": settings})

    flags = f"--storage '{settings.storage}' --broker-url 'redis://:***@host'"
    assert f"`poets resume run {flags}`" in text


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (NoRunError("None."), "runs"),
        (UnknownModelError("None."), "runs"),
        (LabellingJobError("None."), "runs"),
        (NoModelError("None."), "submit-dataset DIR"),
        (OtherFolderError("One too low.", "photos"), "submit-dataset photos"),
        (OtherStackError("Another."), "down"),
    ],
)
def test_a_command_that_names_no_run_has_these_flags_too(error, command, tmp_path):
    text = describe_error(error, {"poets.settings": Settings(tmp_path)})

    assert f"`poets {command} --storage {tmp_path}`" in text


def test_before_there_are_settings_an_error_is_told_all_the_same():
    assert describe_error(PoetsError("Broken."), {}) == "Broken."


STATE = RunState("spring", make_plan(name="spring"), "stopped", Situation.STOPPED)
RESUME = "`poets resume spring --storage /s` continues it"


@pytest.mark.parametrize(
    ("situation", "reason", "note"),
    [
        (Situation.DRIVEN, "", ""),
        (Situation.DRIVEN, "full", "cannot continue now: full; tried again every minute"),
        (Situation.STARTING, "", "is starting"),
        (Situation.AWAITS_COORDINATOR, "", "a coordinator takes it up"),
        (Situation.AWAITS_SWEEP, "", "waits for the other trials of its sweep"),
        (Situation.STOPPED, "", RESUME),
        (
            Situation.STOPPED,
            "full",
            f"could not continue: full; when that is mended, {RESUME}",
        ),
        (Situation.NO_COORDINATOR, "", f"no coordinator is up to drive it; {RESUME}"),
        (Situation.ABANDONED, "", f"nobody drives it; {RESUME}"),
        (
            Situation.UNKNOWN,
            "",
            f"the broker does not say whether it is driven; {RESUME}, or joins it",
        ),
    ],
)
def test_the_note_of_a_run_says_what_to_do(situation, reason, note):
    state = replace(STATE, situation=situation, reason=reason)

    assert describe_state(state, " --storage /s") == note


def test_every_situation_has_a_note():
    for situation in Situation:
        assert describe_state(replace(STATE, situation=situation, reason="x"), "")


def test_a_trial_is_not_resumed_alone():
    state = replace(STATE, plan=make_plan(name="best.002", sweep="best", parent="spring"))

    note = describe_state(state, "")

    assert "`poets sweep spring`" in note
    assert "resume" not in note


@pytest.mark.parametrize(
    ("state", "reason", "note"),
    [
        ("failed", "bad weights", "bad weights"),
        ("cancelled", "", "`poets resume spring` continues it"),
        ("damaged", "cannot be read", "cannot be read"),
    ],
)
def test_a_run_that_has_ended_says_why(state, reason, note):
    assert describe_state(replace(STATE, state=state, situation=None, reason=reason), "") == note


def test_work_that_no_worker_takes_is_explained(tmp_path):
    embedded, shared = Settings(tmp_path), Settings(tmp_path, "redis://localhost")
    seen = []

    for settings in (embedded, shared):
        with_advice(seen.append, settings)(Progress("training", is_unattended=True))
    with_advice(seen.append, shared)(Progress("training"))

    assert str(find_stack(embedded).log) in seen[0].problem
    assert "`poets worker`" in seen[1].problem
    assert seen[2].problem == ""
