"""Attend a run on behalf of a command: progress, Ctrl-C, and the summary at the end."""

from typing import Any

import click

from cli.console import describe_seconds, print_json, say, show_progress
from workers.settings import Settings


def conduct(settings: Settings, name: str, detach: bool, as_json: bool, quiet: bool) -> None:
    """Bring a planned run to its end, or leave it to the background, and print how it is."""
    from orchestrator.jobs import hand_over

    if detach:
        hand_over(settings, name)
        say(f"Goes on in the background: `poets show {name}`.", quiet)
        if settings.broker_url is None:
            say("The stack stays up for it until `poets down`.", quiet)
        print_json({"run": name, "state": "running"}) if as_json else click.echo(name)
        return
    result = attend(settings, name, quiet)
    print_json(result) if as_json else print_result(result)


def attend(settings: Settings, name: str, quiet: bool) -> dict[str, Any]:
    """Bring a planned run to its end, show how far it is, and return its result."""
    from orchestrator.jobs import attend_run

    try:
        with show_progress(quiet) as on_progress:
            return attend_run(settings, name, on_progress, lambda: _say_resume(name))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped. Go on with `poets resume {name}`.") from None


def _say_resume(name: str) -> None:
    say(
        f"\nStopping; what is done is kept. Go on with `poets resume {name}`. "
        "(Ctrl-C again stops at once.)"
    )


def print_result(result: dict[str, Any]) -> None:
    """Print the result of a run as a few lines for a person."""
    lines = _labelled(result) if "job" in result else _trained(result)
    click.echo("\n".join(line for line in lines if line))


def _trained(result: dict[str, Any]) -> list[str]:
    labels = ", ".join(result["labels"][:8]) + (", ..." if len(result["labels"]) > 8 else "")
    bad, lost = result["quarantined"], result["lost"]
    return [
        f"Run {result['run']} has finished in {describe_seconds(result['seconds'])}.",
        f"  images      {result['images']:,}: {result['computed']:,} computed, "
        f"{result['cached']:,} from the cache, {bad:,} unreadable, {lost:,} lost",
        f"  labels      {len(result['labels'])}: {labels}",
        f"  split       {result['training']:,} training, {result['validation']:,} validation, "
        f"{result['testing']:,} testing",
        f"  left out    {result['left_out']:,} images that are copies of held-out ones"
        if result["left_out"]
        else "",
        f"  accuracy    {_percent(result['validation_accuracy'])} validation, "
        f"{_percent(result['test_accuracy'])} test",
        f"  unreadable  {result['model']}/quarantine.csv" if bad else "",
        f"  mistakes    {result['model']}/mistakes.csv",
        f"  report      {result['report']}" if result.get("report") else "",
        f"  model       {result['model']}",
        "Label other photographs with it: poets classify-dir DIR",
    ]


def _labelled(result: dict[str, Any]) -> list[str]:
    return [
        f"Job {result['job']} has finished in {describe_seconds(result['seconds'])} "
        f"({result['images_per_second']:,.0f} images a second).",
        f"  images   {result['images']:,}: {result['ok']:,} labelled, {result['failed']:,} failed",
        f"  model    {result['model']}",
        f"  output   {result['output']}",
        "  The rows of failed images say why in the column `error`." if result["failed"] else "",
    ]


def _percent(accuracy: float | None) -> str:
    return "none held out for" if accuracy is None else f"{accuracy:.1%}"
