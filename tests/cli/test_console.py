"""What a person sees of long work."""

import io
import os
from dataclasses import replace

import pytest

from cli.console import describe_progress, describe_seconds, print_table, say, show_progress
from orchestrator.progress import Progress

HALF = Progress("labelling", done=500, total=1000, failed=2, rate=210.4, left_s=2.4)


def test_progress_is_one_line_with_all_that_one_wants_to_know():
    assert describe_progress(HALF) == "labelling: 500 of 1,000 images, 210/s, 2 s left, 2 failed"


def test_progress_says_what_it_counts():
    progress = Progress("computing bottlenecks", done=5, total=90, unit="images and variants")

    assert describe_progress(progress) == "computing bottlenecks: 5 of 90 images and variants"


def test_a_phase_of_which_nothing_is_known_is_its_name():
    assert describe_progress(Progress("exporting")) == "exporting"


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (18420, "5 h 7 min"),
])  # fmt: skip
def test_seconds_are_said_as_a_person_says_them(seconds, text):
    assert describe_seconds(seconds) == text


def test_without_a_terminal_there_are_plain_lines_every_few_seconds(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    with show_progress(quiet=False) as show:
        for _ in range(100):
            show(HALF)
            now[0] += 0.2
        show(Progress("training", 1000, 1000))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("training")


def test_a_new_note_is_said_at_once_and_then_as_often_as_the_rest(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    with show_progress(quiet=False) as show:
        for note in ("", "", "waiting", "waiting", "", "other"):
            show(replace(HALF, note=note))
            now[0] += 1

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[4:] for line in lines] == [[], ["waiting"], ["other"]]


def test_quiet_is_silent(capsys):
    with show_progress(quiet=True) as show:
        show(HALF)

    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_live_line(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    with show_progress(quiet=False) as show:
        show(HALF)
        show(Progress("labelling", 1000, 1000, note="[odd] name"))

    assert "[odd] name" in terminal.getvalue()


def test_what_is_said_meanwhile_stands_above_the_live_line(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(ours, "rb", buffering=0) as screen, open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with show_progress(quiet=False) as show:
            show(HALF)
            say("Step 0")
        monkeypatch.undo()
        terminal.flush()
        written = screen.read(100_000)

    erase_line = b"\r\x1b[2K"
    assert erase_line + b"Step 0\r\n" in written


def test_tables_are_aligned_and_numbers_stand_to_the_right(capsys):
    print_table(("name", "images"), [("spring", 5), ("a", 12345)])

    assert capsys.readouterr().out.splitlines() == [
        "NAME    IMAGES",
        "spring       5",
        "a        12345",
    ]
