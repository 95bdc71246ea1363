"""Attend a run on behalf of a command: progress, Ctrl-C, and the summary at the end."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.console import describe_seconds, print_json, say, show_progress
from workers.settings import Settings, needed_flags

if TYPE_CHECKING:
    from orchestrator.progress import Progress
    from workers.storage.run import Run


def conduct(
    settings: Settings, run: "Run", started: float, detach: bool, as_json: bool, quiet: bool
) -> dict[str, Any] | None:
    """Bring a planned run to its end, or leave it to the background, and print how it is.

    Args:
        started: When the command began, of ``time.monotonic``.

    Returns:
        The result; None when the run goes on in the background.
    """
    from orchestrator.jobs.submit import hand_over

    if detach:
        hand_over(settings, run)
        flags = needed_flags(settings)
        say(f"Goes on in the background: `poets show {run.name}{flags}`.", quiet)
        if settings.broker_url is None:
            say(f"The stack stays up for it until `poets down{flags}`.", quiet)
        print_json({"run": run.name, "state": "running"}) if as_json else click.echo(run.name)
        return None
    result = attend(settings, run, started, quiet)
    print_json(result) if as_json else print_result(result)
    return result


def assert_accuracy(result: dict[str, Any], least: float) -> None:
    """Refuse a result whose accuracy on test (else on validation) is below `least`.

    Raises:
        AccuracyError: When it is, or when no image was held out.
    """
    from workers.errors import AccuracyError

    splits = ("test", "validation")
    known = [(s, result[f"{s}_accuracy"]) for s in splits if result[f"{s}_accuracy"] is not None]
    if not known:
        raise AccuracyError(
            "No image was held out, so no accuracy can be asserted. Give --testing-percentage."
        )
    split, accuracy = known[0]
    if accuracy < least:
        raise AccuracyError(
            f"The {split} accuracy of {accuracy:.2%} is below the {least:.2%} that was asked for; "
            f"the model is kept in {result['model']}."
        )


def attend(
    settings: Settings,
    run: "Run",
    started: float,
    quiet: bool,
    look: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Bring a planned run to its end, show how far it is, and return its result.

    Args:
        look: Called several times a second, to print what is new.
    """
    from orchestrator.driving.driver import WatchInterrupt
    from orchestrator.jobs.submit import attend_run

    command = run.name + needed_flags(settings)
    try:
        with show_progress(quiet) as on_progress:

            def show(progress: "Progress") -> None:
                look()
                on_progress(progress)

            return attend_run(settings, run, started, show, lambda: _say_resume(command))
    except WatchInterrupt:
        raise KeyboardInterrupt(
            f"Run {run.name} goes on: another process drives it. See `poets show {command}`."
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped. Go on with `poets resume {command}`.") from None


def _say_resume(name: str) -> None:
    say(
        f"\nStopping; what is done is kept. Go on with `poets resume {name}`. "
        "(Ctrl-C again stops at once.)"
    )


def print_result(result: dict[str, Any]) -> None:
    """Print the result of a run as a few lines for a person."""
    lines = _labelled(result) if "job" in result else _trained(result)
    if result.get("retried"):
        lines.insert(1, _retried(result))
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
        f"  variants    {result['variants']:,} of the training images: "
        f"{result['variants_computed']:,} computed, "
        f"{result['variants'] - result['variants_computed']:,} from the cache"
        if result.get("variants")
        else "",
        f"  left out    {result['left_out']:,} images that are copies of held-out ones"
        if result["left_out"]
        else "",
        f"  accuracy    {_accuracy(result, 'validation')} validation, "
        f"{_accuracy(result, 'test')} test"
        f"{describe_interval(result.get('test_accuracy_interval'))}",
        f"  mean AP     {result['mean_average_precision']:.3f} test (mean average precision); "
        "accuracy: all labels of an image right"
        if result.get("mean_average_precision") is not None
        else "",
        f"  unreadable  {result['model']}/quarantine.csv" if bad else "",
        f"  mistakes    {result['model']}/mistakes.csv",
        _finding("suspects", result, "images whose label may be wrong"),
        _finding("duplicates", result, "pairs of copies under two splits or labels"),
        f"  report      {result['report']}" if result.get("report") else "",
        f"  model       {result['model']}",
        "Label other photographs with it: poets classify-dir DIR",
    ]


def _finding(name: str, result: dict[str, Any], meaning: str) -> str:
    count = result.get(name, 0)
    return f"  {name:<11} {count:,} {meaning}: {result['model']}/{name}.csv" if count else ""


def _labelled(result: dict[str, Any]) -> list[str]:
    unsure = f"{result['unsure']:,} unsure, " if result.get("unsure") else ""
    return [
        f"Job {result['job']} has finished in {describe_seconds(result['seconds'])} "
        f"({result['images_per_second']:,.0f} images a second).",
        f"  images   {result['images']:,}: {result['ok']:,} labelled, {unsure}"
        f"{result['failed']:,} failed",
        f"  model    {result['model']}",
        f"  output   {result['output']}",
        "  The rows of failed images say why in the column `error`." if result["failed"] else "",
    ]


def _retried(result: dict[str, Any]) -> str:
    bad = result["failed" if "job" in result else "quarantined"]
    still = f"{bad:,} failed again" if bad else "none failed again"
    heading = "retried " if "job" in result else "retried    "
    return f"  {heading} {result['retried']:,}: {result['repaired']:,} repaired, {still}"


def _accuracy(result: dict[str, Any], split: str) -> str:
    accuracy = result[f"{split}_accuracy"]
    if accuracy is not None:
        return f"{accuracy:.1%}"
    images = result["testing" if split == "test" else split]
    return "not looked at yet:" if images else "none held out for"


def describe_interval(interval: list[float] | None) -> str:
    """Return the 95 % interval of an accuracy: `` (82.1 to 94.6%)``; nothing without one."""
    return f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f}%)" if interval else ""
