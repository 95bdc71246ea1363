"""Questions to another process, and how each of its ends is told."""

import os

import pytest

from workers.errors import StorageError
from workers.processes.child import Child, DeathError

PROGRAM = """
import os, sys, time
from workers.processes.child import begin, serve

def answer(question, tell):
    print("noise on stdout")
    if question == "many":
        for number in range(5000):
            tell("x" * number)
    elif question == "die":
        print("noise", file=sys.stderr)
        print("the last words", file=sys.stderr)
        os._exit(3)
    elif question == "hang":
        time.sleep(600)
    elif question == "talk":
        print("z" * 100_000, file=sys.stderr)
        tell(os.fstat(2).st_size)
    else:
        tell([os.getpid(), question])

arguments = begin()
if arguments == ["refuse"]:
    sys.exit("no backbone")
serve(str, answer)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that makes a child of PROGRAM; all of them end with the test."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    children = []

    def make(*arguments, **options):
        children.append(Child("program", list(arguments), object, **options))
        return children[-1]

    yield make
    for child in children:
        child.stop()


def test_questions_go_to_one_process_and_what_it_prints_is_no_answer(start):
    child = start()

    (pid, one), (same, other) = child.ask("one"), child.ask("other")

    assert (one, other) == ("one", "other")
    assert pid == same != os.getpid()


def test_many_answers_come_in_order(start):
    assert [len(answer) for answer in start().answers("many", 60)] == list(range(5000))


def test_answers_that_nobody_waits_for_are_no_answers_to_the_next_question(start):
    child = start()
    answers = child.answers("many", 60)
    assert next(answers) == ""
    answers.close()

    assert child.ask("one")[1] == "one"


def test_a_death_has_a_cause_and_last_words(start):
    with pytest.raises(DeathError, match=r"^ended the process that read it .exit code 3.$") as died:
        list(start().answers("die", 60))

    assert died.value.last_words == "the last words"


def test_last_words_are_about_the_last_question(start):
    child = start()

    sizes = [child.ask("talk") for _ in range(3)]

    assert sizes[2] <= 100_000 + 1000 < sum(sizes)


def test_a_process_that_hangs_is_given_up_and_another_takes_its_place(start):
    child = start()
    [first, _] = child.ask("one")

    with pytest.raises(DeathError, match="hangs: gave no result within 1 s"):
        list(child.answers("hang", 1))

    assert child.ask("one")[0] != first


def test_an_error_of_the_heartbeat_ends_the_wait_and_the_process(start):
    def heartbeat():
        raise KeyboardInterrupt

    child = start(heartbeat=heartbeat)

    with pytest.raises(KeyboardInterrupt):
        child.ask("hang")

    assert child._process is None


def test_a_process_that_cannot_start_says_why(start):
    with pytest.raises(StorageError, match=r"program cannot start: .*exit code 1.: no backbone$"):
        start("refuse").ask("one")
