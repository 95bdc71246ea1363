"""What a person sees of long work."""

import io
import json
import os
import re
from dataclasses import replace

import pytest

from cli.console import (
    describe_progress,
    describe_seconds,
    echo,
    echo_path,
    on_one_line,
    print_json,
    print_table,
    say,
    show_progress,
)
from orchestrator.progress import Progress
from tests.builders.paths import ROOT

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


# What a stranger may call a file: it clears the screen, sets the title and the clipboard,
# turns text around, begins another line, or is no text at all.
NASTY = "a\x1b[2J\x1b]0;OWNED\x07\x9b31m\u202egpj\r\n\x7f\u2028\udce9.jpg"
SHOWN = r"a\x1b[2J\x1b]0;OWNED\x07\x9b31m\u202egpj\r\n\x7f\u2028\udce9.jpg"


@pytest.mark.parametrize(
    "show",
    [
        lambda: echo(f"photo {NASTY}"),
        lambda: say(f"photo {NASTY}"),
        lambda: print_table(["name"], [[f"photo {NASTY}"]]),
        lambda: _plain(replace(HALF, note=f"photo {NASTY}")),
    ],
)
def test_nothing_in_a_name_reaches_a_terminal_as_a_command(show, capsys):
    show()

    found = capsys.readouterr()
    assert f"photo {SHOWN}\n" in found.out + found.err
    assert all(line.isprintable() for line in (found.out + found.err).split("\n"))


def _plain(progress):
    with show_progress(quiet=False) as show:
        show(progress)


def test_json_holds_no_command_for_a_terminal_and_the_very_name(capsys):
    print_json({"path": NASTY, "labels": ["gänseblümchen", "雛菊", "👩\u200d🚀"]})

    out = capsys.readouterr().out
    assert json.loads(out) == {"path": NASTY, "labels": ["gänseblümchen", "雛菊", "👩\u200d🚀"]}
    assert "雛菊" in out
    assert all(line.replace("\u200d", "").isprintable() for line in out.split("\n"))


@pytest.mark.parametrize(
    "text", ["雛菊 gänseblümchen", "a\xa0b\u3000c", "می\u200cخواهم", "👩\u200d🚀", "שלום"]
)
def test_text_of_any_language_is_shown_as_it_is(text):
    assert on_one_line(text) == text


def test_a_path_is_exact_for_a_program_and_escaped_for_a_person(capsys, monkeypatch):
    echo_path("a\x1bb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    echo_path("a\x1bb")

    assert capsys.readouterr().out == "a\x1bb\na\\x1bb\n"


def test_all_output_goes_through_the_console():
    direct = [
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "cli").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"click\.s?echo|(?<![\w.])print\(|sys\.std(out|err)\.write", line)
    ]

    # A shell reads the completion script.
    others = [line for line in direct if not line.startswith("console.py")]
    assert len(others) == 1
    assert "_SHELLS" in others[0]
