"""What is said of a model before it labels anything."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.model_choice import describe_age, describe_model, warn_of_choice
from cli.styles import render
from orchestrator.models import Choice, Trained
from tests.builders.reports import card_of
from tests.builders.runs import make_plan
from workers.storage.plan import TrainingOptions


def ago(**time):
    return (datetime.now(UTC) - timedelta(**time)).isoformat(timespec="seconds")


def trained(name, root="/photos/flowers", labels=("blue", "red"), **time):
    plan = make_plan(name=name, root=root, labels=labels, training=TrainingOptions())
    return Trained(Path("/m"), replace(card_of(plan), created=ago(**time)), plan)


def text(lines):
    return "\n".join(render(line, None, coloured=False) for line in lines)


@pytest.mark.parametrize(
    ("created", "age"),
    [
        (lambda: ago(hours=3), "3 hours old"),
        (lambda: ago(days=1, hours=5), "1 day old"),
        (lambda: ago(days=800), "2 years old"),
        (lambda: ago(days=-3), "less than a minute old"),  # another clock
        (lambda: "2020-01-01T00:00:00", "old"),
        (lambda: "yesterday", "of unknown age"),
    ],
)
def test_an_age_is_in_the_largest_unit(created, age):
    assert describe_age(created()).endswith(age)


def test_a_model_is_its_name_age_labels_and_photographs():
    found = text(describe_model(trained("flowers-1", hours=2)))

    assert found == (
        "Model flowers-1, 2 hours old, trained on /photos/flowers\n  labels  2: blue, red"
    )
    many = trained("many", labels=tuple("abcdefghijk"), hours=2)
    assert "labels  11: a, b, c, d, e, f, g, h, ..." in text(describe_model(many))
    copied = replace(trained("copied"), plan=None)
    assert "from /m" in text(describe_model(copied))


def test_a_change_is_a_warning_with_the_labels_that_differ():
    before = trained("old", labels=("blue", "green"), days=2).card
    choice = Choice(trained("new"), before)

    assert text(warn_of_choice(choice)) == (
        "Warning: the last job on this folder used old, 2 days old, with other labels "
        "(-green, +red)."
    )
    same = Choice(trained("new"), trained("old", days=2).card)
    assert text(warn_of_choice(same)).endswith("used old, 2 days old.")


def test_a_newer_model_of_other_photographs_is_named_with_how_to_take_it():
    choice = Choice(trained("mine"), passed_over=trained("trash-1", "/photos/trash"))

    assert text(warn_of_choice(choice)) == (
        "Warning: trash-1 is newer, but of other photographs (/photos/trash); "
        "--model trash-1 takes it."
    )
    assert warn_of_choice(Choice(trained("mine"))) == []
