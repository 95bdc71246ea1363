"""Attend a run on behalf of a command: progress, Ctrl-C, and the summary at the end."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cli.advice import with_advice
from cli.console import Session, echo, print_json, say, shown_path
from cli.progress_line import describe_seconds
from cli.styles import Line, good, strong, warning
from orchestrator.attended import leave_runs
from workers.errors import AccuracyError

if TYPE_CHECKING:
    from orchestrator.driving.result import LabellingResult, Result, TrainingResult
    from orchestrator.progress import Progress
    from workers.storage.plan import Run


def conduct(session: Session, run: "Run") -> "Result | None":
    """Bring a planned run to its end, or leave it to the background, and print the outcome.

    Returns:
        The result; None when the run continues in the background.
    """
    from orchestrator.jobs.submit import hand_over

    if not session.detach:
        result = attend(session, run)
        show_result(session, result)
        return result
    hand_over(session.settings, run)
    session.say(f"Continues in the background: `poets show {run.name}{session.flags}`.")
    if session.settings.broker_url is None:
        session.say(f"The stack stays up for it until `poets down{session.flags}`.")
        say_detached(session, run.name)
    if session.as_json:
        print_json({"run": run.name, "state": "running"})
    else:
        echo(run.name)
    return None


def say_detached(session: Session, but: str = "") -> None:
    """Name the detached runs that continue as soon as the stack is up, but for one."""
    from orchestrator.driving.coordinator import detached_runs
    from workers.storage.layout import Storage

    others = [name for name in detached_runs(Storage(session.settings.storage)) if name != but]
    if others:
        session.say(f"Detached runs continue with it: {', '.join(others)}.")


def assert_accuracy(result: "Result", least: float) -> None:
    """Refuse a result whose accuracy on test (else on validation) is below `least`.

    Raises:
        AccuracyError: When it is, or when no image was held out.
    """
    from orchestrator.driving.result import TrainingResult

    accuracies = result.accuracies if isinstance(result, TrainingResult) else {}
    for split, accuracy in accuracies.items():
        if accuracy < least:
            raise AccuracyError(
                f"The {split} accuracy of {accuracy:.2%} is below the {least:.2%} that was asked "
                f"for; the model is kept in {result.model}."
            )
        return
    raise AccuracyError(
        "No image was held out, so no accuracy can be asserted. Give --testing-percentage."
    )


def attend(session: Session, run: "Run", on_tick: Callable[[], None] = lambda: None) -> "Result":
    """Bring a planned run to its end, show how far it is, and return its result.

    Args:
        on_tick: Called several times a second, to print what is new.
    """
    from orchestrator.driving.driver import WatchInterrupt
    from orchestrator.jobs.submit import attend_run

    settings, name = session.settings, run.name + session.flags

    def on_interrupt() -> None:
        say(
            "",
            f"Stopping; what is done is kept. Continue with `poets resume {name}`. "
            "(Ctrl-C again stops at once.)",
        )

    try:
        with session.show_progress() as on_progress:
            shown = with_advice(on_progress, settings)

            def show(progress: "Progress") -> None:
                on_tick()
                shown(progress)

            return attend_run(settings, run, session.started, show, on_interrupt)
    except WatchInterrupt:
        raise KeyboardInterrupt(
            f"Run {run.name} continues: another process drives it. See `poets show {name}`."
        ) from None
    except KeyboardInterrupt:
        # It may have come before the drive, or while the stack was stopping.
        leave_runs()
        raise KeyboardInterrupt(f"Stopped. Continue with `poets resume {name}`.") from None


def show_result(session: Session, result: "Result") -> None:
    """Print the result of a run on stdout."""
    from orchestrator.driving.result import to_dict

    if session.as_json:
        print_json(to_dict(result))
    else:
        print_result(result, session.flags)


def print_result(result: "Result", flags: str) -> None:
    """Print the result of a run as a few lines for a person.

    Args:
        flags: Those that lead to its storage and broker; see `needed_flags`.
    """
    from orchestrator.driving.result import TrainingResult

    lines = _trained(result, flags) if isinstance(result, TrainingResult) else _labelled(result)
    if result.retried:
        still = f"{result.unreadable:,} failed again" if result.unreadable else "none failed again"
        text = f"{result.retried:,}: {result.repaired:,} repaired, {still}"
        lines.insert(2, f"  retried     {text}")
    echo(*lines)


def _trained(result: "TrainingResult", flags: str) -> list[Line]:
    labels = ", ".join(result.labels[:8]) + (", ..." if len(result.labels) > 8 else "")
    lines: list[Line] = [
        _heading("Run", result.run, result.seconds),
        _accuracies(result),
        *_promised(result),
        f"  images      {result.images:,}: {result.computed:,} computed, {result.cached:,} from "
        f"the cache, {result.quarantined:,} unreadable, {result.lost:,} lost",
        f"  labels      {len(result.labels)}: {labels}",
        f"  split       {result.training:,} training, {result.validation:,} validation, "
        f"{result.testing:,} testing",
    ]
    if result.mean_average_precision is not None:
        precision = strong(f"{result.mean_average_precision:.3f} test")
        meaning = " (mean average precision); accuracy: all labels of an image right"
        lines.insert(2, ["  mean AP     ", precision, meaning])
    if result.variants:
        known = result.variants - result.variants_computed
        lines.append(
            f"  variants    {result.variants:,} of the training images: "
            f"{result.variants_computed:,} computed, {known:,} from the cache"
        )
    if result.left_out:
        copies = "image that is a copy" if result.left_out == 1 else "images that are copies"
        lines.append(f"  left out    {result.left_out:,} {copies} of a held-out one")
    for name, count, one, meaning in (
        ("unreadable", result.quarantined, "image", ", with the reasons: quarantine.csv"),
        ("suspects", result.suspects, "image", " whose label may be wrong: suspects.csv"),
        (
            "duplicates",
            result.duplicates,
            "pair",
            " of copies under two splits or labels: duplicates.csv",
        ),
    ):
        if count:
            kind = one if count == 1 else f"{one}s"
            lines.append([f"  {name:<11} ", warning(f"{count:,}"), f" {kind}{meaning}"])
    return [
        *lines,
        "  mistakes    mistakes.csv; all these files are in the folder of the model",
        f"  report      {shown_path(result.report)}",
        f"  model       {shown_path(result.model)}",
        f"Label other photographs with it: poets classify-dir DIR --model {result.run}{flags}",
    ]


def _accuracies(result: "TrainingResult") -> Line:
    """Return the accuracy on test first: the number that a run is made for."""
    test = _accuracy("test", result.test_accuracy, result.testing)
    interval = describe_interval(result.test_accuracy_interval)
    validation = _accuracy("validation", result.validation_accuracy, result.validation)
    return ["  accuracy    ", strong(test), f"{interval}, {validation}"]


def _promised(result: "TrainingResult") -> list[Line]:
    """Return what a target precision came to."""
    promise, test = result.promise, result.test_sure
    if promise is None:
        return []
    target, judged, needed = f"{100 * promise['target']:.4g}%", promise["judged"], promise["needed"]
    counts = f"{promise['right']:,} of {promise['sure']:,}"
    if promise["threshold"] is None:
        head = f"  promise     none: {target} cannot be promised, so every label is "
        why = f"at best {promise['bound'] or 0:.1%} can be ({counts} right)"
        if needed and judged < needed:
            why = f"it takes {needed:,} photographs without a mistake; {judged:,} are here"
        return [[head, warning("unsure")], f"              {why}"]
    shown = f"at least {promise['bound']:.1%} with {promise['confidence']:.0%} confidence"
    least = f"{promise['threshold']:.4f}"
    lines: list[Line] = [
        f"  promise     {target} of the sure labels right: scores from {least} on",
        f"              ({counts} right; {shown})",
        f"  sure        {promise['coverage']:.0%} of photographs like these; the others are unsure",
    ]
    if test and result.testing:
        interval = describe_interval(test["accuracy_interval"])
        right = f": {test['accuracy']:.1%} right{interval}" if test["images"] else ""
        lines.append(f"  sure, test  {test['images']:,} of {result.testing:,}{right}")
    return lines


def _labelled(result: "LabellingResult") -> list[Line]:
    unsure = f", {result.unsure:,} unsure" if result.unsure else ""
    failed = f", {result.failed:,} failed"
    speed = f"{result.images_per_second:,.0f}"
    lines: list[Line] = [
        _heading("Job", result.job, result.seconds),
        [
            f"  images      {result.images:,}: ",
            strong(f"{result.ok:,} labelled"),
            unsure,
            warning(failed) if result.failed else failed,
        ],
        f"  speed       {speed} {'image' if speed == '1' else 'images'} a second",
        f"  output      {shown_path(result.output)}",
        f"  model       {shown_path(result.model)}",
    ]
    if result.failed:
        lines.append("  The rows of failed images say why in the column `error`.")
    return lines


def _heading(kind: str, name: str, seconds: float) -> Line:
    return [
        f"{kind} ",
        strong(name),
        " has ",
        good("finished"),
        f" in {describe_seconds(seconds)}.",
    ]


def _accuracy(split: str, accuracy: float | None, images: int) -> str:
    if accuracy is not None:
        return f"{accuracy:.1%} {split}"
    return f"{split} not evaluated yet" if images else f"no {split} images held out"


def describe_interval(interval: Sequence[float] | None) -> str:
    """Return the 95 % interval of an accuracy: `` (82.1 to 94.6%)``; nothing without one."""
    return f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f}%)" if interval else ""
