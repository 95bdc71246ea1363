"""What a person sees of long work."""

import fcntl
import json
import os
import re
import struct
import termios
from dataclasses import replace

import pytest

from cli.console import (
    echo,
    echo_path,
    on_one_line,
    print_json,
    print_table,
    say,
    show_progress,
)
from cli.progress_line import describe_progress, describe_seconds, fit_progress
from cli.styles import bad, shorten
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


def test_a_problem_is_said_at_once_on_a_line_of_its_own(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    with show_progress(quiet=False) as show:
        for problem in ("", "", "disk full", "disk full", "", "other"):
            show(replace(HALF, problem=problem))
            now[0] += 1

    said = [describe_progress(HALF), "  disk full", describe_progress(HALF), "  other"]
    assert capsys.readouterr().err.splitlines() == said


def test_a_night_of_work_leaves_a_short_log(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    with show_progress(quiet=False) as show:
        while now[0] < 8 * 3600:
            show(HALF)
            now[0] += 1

    assert len(capsys.readouterr().err.splitlines()) < 600


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (100, "computing bottlenecks: 512 of 3,670 images, 43/s, 1 min 13 s left, 2 failed"),
        (70, "computing bottlenecks: 512 of 3,670, 43/s, 1 min 13 s left, 2 failed"),
        (60, "512 of 3,670, 43/s, 1 min 13 s left, 2 failed"),
        (40, "512 of 3,670, 43/s, 1 min 13 s left"),
        (22, "43/s, 1 min 13 s left"),
    ],
)
def test_rate_and_time_to_end_are_the_last_to_go(width, text):
    progress = Progress("computing bottlenecks", 512, 3670, failed=2, rate=43.1, left_s=73.3)

    assert fit_progress(progress, width) == text


@pytest.mark.parametrize(
    "progress",
    [
        HALF,
        Progress("preparing the backbone", note="once for each architecture, up to a minute"),
        Progress("looking for images", note="12,345 found"),
        Progress("computing bottlenecks", 0, 3670),
        Progress("writing labels", 3670, 3670, failed=12),
    ],
)
def test_no_text_of_progress_is_wider_than_its_terminal(progress):
    for width in range(1, 120):
        assert len(fit_progress(progress, width, elapsed_s=14)) <= width


def test_a_phase_without_an_end_says_how_long_it_has_taken():
    progress = Progress("preparing the backbone", note="once for each architecture")

    text = fit_progress(progress, 100, elapsed_s=14.2)

    assert text == "preparing the backbone: once for each architecture, 14 s so far"


def test_quiet_is_silent(capsys):
    with show_progress(quiet=True) as show:
        show(HALF)

    assert capsys.readouterr() == ("", "")


def in_terminal(monkeypatch, act, **environment):
    """Return what a terminal of 60 columns gets while `act` is called."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
    with open(ours, "rb", buffering=0) as screen, open(theirs, "w", encoding="utf-8") as stream:
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            patch.setattr("sys.stdout", stream)
            act()
        stream.write("END")
        stream.flush()
        written = ""
        while not written.endswith("END"):
            written += screen.read(100_000).decode()
    return written.removesuffix("END")


def show_all(*moments):
    with show_progress(quiet=False) as show:
        for progress in moments:
            show(progress)


def test_on_a_terminal_there_is_a_live_line_with_the_problem_below_it(monkeypatch):
    problem = "a task failed and is tried again: No space left on device"
    last = Progress("labelling", 500, 1000, note="[odd] name", problem=problem)

    written = in_terminal(monkeypatch, lambda: show_all(HALF, last))

    assert "[odd] name" in written
    assert f"  {problem}" in written.replace("\r\n", " ")
    assert "━" in written


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_obeys_nothing_gets_plain_lines(monkeypatch, term):
    def act():
        show_all(HALF)
        echo(bad("failed"))

    assert in_terminal(monkeypatch, act, TERM=term) == f"{describe_progress(HALF)}\r\nfailed\r\n"


COLOURED = "\x1b[31m\x1b[1mfailed\x1b[0m\r\n"


@pytest.mark.parametrize(
    ("environment", "written"),
    [
        ({}, COLOURED),
        ({"NO_COLOR": "1"}, "failed\r\n"),
        ({"NO_COLOR": ""}, COLOURED),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, "failed\r\n"),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, COLOURED),
    ],
)
def test_a_terminal_has_colours_unless_they_are_unwanted(monkeypatch, environment, written):
    assert in_terminal(monkeypatch, lambda: say(bad("failed")), **environment) == written
    assert in_terminal(monkeypatch, lambda: echo(bad("failed")), **environment) == written


@pytest.mark.parametrize(("forced", "out"), [("", "failed\n"), ("1", COLOURED)])
def test_a_pipe_has_colours_only_if_they_are_forced(capsys, monkeypatch, forced, out):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", forced)

    echo(bad("failed"))

    assert capsys.readouterr().out == out.replace("\r", "")


def test_no_colour_is_without_any_in_the_live_line_too(monkeypatch):
    last = replace(HALF, problem="disk full")

    written = in_terminal(monkeypatch, lambda: show_all(last), NO_COLOR="1")

    assert re.findall(r"\x1b\[[0-9;]*m", written) == []


def test_a_long_line_is_broken_between_words_and_continued_under_its_text(monkeypatch):
    def act():
        echo("  images      3,670: 3,670 computed, 0 from the cache, 0 unreadable, 0 lost")
        echo(f"It stopped. Continue the run with `poets resume spring --storage /{'s' * 20}`.")

    assert in_terminal(monkeypatch, act).split("\r\n") == [
        "  images      3,670: 3,670 computed, 0 from the cache, 0",
        "              unreadable, 0 lost",
        "It stopped. Continue the run with",
        f"`poets resume spring --storage /{'s' * 20}`.",
        "",
    ]


def test_a_table_that_is_too_wide_becomes_a_few_lines_for_each_row(monkeypatch):
    rows = [("spring", "finished" * 6, "result"), ("b", "", "")]

    written = in_terminal(monkeypatch, lambda: print_table(("run", "state", "result"), rows))

    lines = re.sub(r"\x1b\[\d*m", "", written).split("\r\n")
    assert lines[:3] == ["spring", f"  state   {'finished' * 6}", "  result  result"]
    assert lines[-2:] == ["b", ""]


def test_the_last_column_is_broken_where_that_makes_room(monkeypatch):
    rows = [("spring", "stopped", "a disk is full; `poets resume spring` continues it when mended")]

    written = in_terminal(monkeypatch, lambda: print_table(("run", "state", "result"), rows))

    assert re.sub(r"\x1b\[\d*m", "", written).split("\r\n")[:3] == [
        "RUN     STATE    RESULT",
        "spring  stopped  a disk is full; `poets resume spring`",
        "                 continues it when mended",
    ]


def test_the_wide_letters_of_a_name_keep_a_table_aligned(capsys):
    print_table(("label", "images"), [("雛菊", 5), ("rose", 5)])

    assert capsys.readouterr().out.splitlines()[1:] == ["雛菊        5", "rose        5"]


def test_a_path_is_as_short_as_it_can_be_typed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")

    assert shorten(tmp_path / "out" / "labels.csv") == "out/labels.csv"
    assert shorten(tmp_path) == "."
    assert shorten("/home/ann/.poets/runs") == "~/.poets/runs"
    assert shorten("/home/anna/x") == "/home/anna/x"
    assert shorten("/srv/x") == "/srv/x"


def test_what_is_said_meanwhile_stands_above_the_live_line(monkeypatch):
    def act():
        with show_progress(quiet=False) as show:
            show(HALF)
            say("Step 0")

    assert "\r\x1b[2KStep 0\r\n" in in_terminal(monkeypatch, act)


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


def test_data_goes_above_the_live_line_of_a_terminal(monkeypatch):
    def act():
        with show_progress(quiet=False) as show:
            show(HALF)
            echo("a row")

    assert "\r\x1b[2Ka row\r\n" in in_terminal(monkeypatch, act)
