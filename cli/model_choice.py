"""What poets says of the model before it labels anything."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.console import Session, say
from cli.styles import Line, strong, warning

if TYPE_CHECKING:
    from orchestrator.models import Choice, Trained
    from workers.heads.model_folder import ModelCard

_MOST_LABELS = 8
_UNITS = (("year", 365 * 86_400), ("day", 86_400), ("hour", 3_600), ("minute", 60))


def say_model(session: Session, choice: "Choice") -> None:
    """Print the name, age, labels and photographs of a model, and what may surprise.

    The warnings are also for those who asked for quiet, such as a nightly job.
    """
    session.say(*describe_model(choice.model))
    say(*warn_of_choice(choice))


def describe_model(model: "Trained") -> list[Line]:
    """Return lines with the name, age, labels and photographs of a model."""
    card = model.card
    more = ", ..." if len(card.labels) > _MOST_LABELS else ""
    labels = ", ".join(card.labels[:_MOST_LABELS])
    origin = f"trained on {model.plan.root}" if model.plan else f"from {model.folder}"
    kind = ", several an image" if card.activation == "sigmoid" else ""
    return [
        ["Model ", strong(card.name), f", {describe_age(card.created)}, {origin}"],
        f"  labels  {len(card.labels)}: {labels}{more}{kind}",
    ]


def warn_of_choice(choice: "Choice") -> list[Line]:
    """Return what has changed since the last job, and which newer model was not taken."""
    lines: list[Line] = []
    if choice.before:
        change = describe_change(choice.before, choice.model.card)
        lines.append([warning("Warning"), f": the last job on this folder used {change}."])
    if choice.passed_over:
        newer, plan = choice.passed_over.card.name, choice.passed_over.plan
        other = f"other photographs ({plan.root})" if plan else "other photographs"
        said = f": {newer} is newer, but of {other}; --model {newer} takes it."
        lines.append([warning("Warning"), said])
    return lines


def describe_change(before: "ModelCard", now: "ModelCard") -> str:
    """Return which model was used before, and how the labels differ."""
    gone = [f"-{label}" for label in before.labels if label not in now.labels]
    new = [f"+{label}" for label in now.labels if label not in before.labels]
    changed = [*gone, *new]
    more = ", ..." if len(changed) > _MOST_LABELS else ""
    labels = f"with other labels ({', '.join(changed[:_MOST_LABELS])}{more})"
    return f"{before.name}, {describe_age(before.created)}" + (f", {labels}" if changed else "")


def describe_age(created: str) -> str:
    """Return how old a model is in words, from its time in ISO 8601."""
    try:
        when = datetime.fromisoformat(created)
    except ValueError:
        return "of unknown age"
    seconds = (
        datetime.now(UTC) - (when if when.tzinfo else when.replace(tzinfo=UTC))
    ).total_seconds()
    for unit, length in _UNITS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'' if count == 1 else 's'} old"
    return "less than a minute old"
