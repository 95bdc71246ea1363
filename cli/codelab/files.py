"""The files that `poets retrain`, or `poets resume`, leaves once the run is done."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cli.attend import attend
from cli.codelab.flags import RetrainFlags
from cli.console import Session, echo, print_json, say
from workers.errors import RunError
from workers.storage.regular_files import NotRegularError, read_regular_file

if TYPE_CHECKING:
    from orchestrator.driving.result import Result
    from workers.storage.layout import RunFolder
    from workers.storage.plan import Run

# In what is kept: that the place of intermediate graphs is a prefix. Earlier it was a folder.
_IS_PREFIX = "intermediate_is_prefix"


def keep_flags(run: "RunFolder", flags: RetrainFlags) -> None:
    """Keep what a run is to leave, until it is there."""
    from workers.storage.atomic import write_whole

    prefix = os.path.join(os.getcwd(), os.path.expanduser(flags.intermediate_output_graphs_dir))
    values = {**asdict(flags), "intermediate_output_graphs_dir": prefix, _IS_PREFIX: True}
    text = json.dumps(values, indent=2, default=lambda path: str(path.absolute()))
    write_whole(run.retrain, text.encode())


def read_flags(run: "RunFolder") -> RetrainFlags | None:
    """Return what a run is still to leave, None when that is nothing.

    Raises:
        RunError: When the file that says so is damaged.
    """
    import msgspec

    if not run.retrain.exists():
        return None
    try:
        values = json.loads(read_regular_file(run.retrain))
        if not values.pop(_IS_PREFIX, False):
            values["intermediate_output_graphs_dir"] += "/"
        return msgspec.convert(values, RetrainFlags, dec_hook=lambda kind, value: kind(value))
    except (NotRegularError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise RunError(f"The file {run.retrain} is damaged: {error}.") from error


def follow(session: Session, run: "Run") -> "Result":
    """Attend a run until it is done, printing its bottlenecks and each step of its curve once."""
    from workers.heads.learning_curve import describe_step, read_steps

    path, size, last = run.folder.steps, 0, -1
    print_bottlenecks = _bottleneck_lines(session, run)

    def print_new() -> None:
        nonlocal size, last
        print_bottlenecks()
        found = path.stat().st_size if path.exists() else 0
        if found == size:
            return
        size = found
        for step in read_steps(path):
            if step.step > last:
                last = step.step
                session.say(*describe_step(step))

    result = attend(session, run, print_new)
    print_new()
    return result


def _bottleneck_lines(session: Session, run: "Run") -> Callable[[], None]:
    """Return what prints the lines of retrain.py about the bottlenecks that are new.

    A batch at a time, since a shard holds the bottlenecks of many images.
    """
    from orchestrator.driving.done_batches import Stored

    stored = Stored.read(run)
    hundreds = 0

    def print_new() -> None:
        nonlocal hundreds
        before = set(stored.done)
        stored.read_again()
        shards = [stored.shards[batch] for batch in sorted(stored.done - before)]
        session.say(*(f"Creating bottleneck at {run.shard(shard)}" for shard in shards if shard))
        if stored.rows_done // 100 > hundreds:
            hundreds = stored.rows_done // 100
            session.say(f"{hundreds * 100} bottleneck files created.")

    return print_new


def leave_files(session: Session, run: "Run", flags: RetrainFlags, result: "Result") -> None:
    """Print the final test of a finished run, and write its graphs and labels.

    Raises:
        PoetsError: See `orchestrator.exporting.codelab_files.export_graphs`.
    """
    from orchestrator.driving.result import to_dict
    from orchestrator.exporting.codelab_files import examine_test, export_graphs
    from workers.heads.sgd import list_kept

    folder, plan = run.folder, run.plan
    if result.unreadable:
        bad = f"{result.unreadable:,} of {plan.images:,} images could not be read"
        session.say(f"{bad}: {folder.model}/quarantine.csv")
    test = examine_test(run, flags.test_batch_size)
    if not session.as_json:
        _print_test(test, flags)
    heads = {flags.intermediate_graph(step): head for step, head in list_kept(folder.heads).items()}
    try:
        with session.show_progress() as on_progress:
            export_graphs(
                session.settings,
                str(folder.model),
                flags.output_graph,
                flags.output_labels,
                heads,
                flags.final_tensor_name,
                on_progress,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped before the graph was written. `poets resume {run.name}"
            f"{session.flags}` writes it."
        ) from None
    folder.retrain.unlink(missing_ok=True)
    session.say(*(f"Save intermediate result to : {path}" for path in heads))
    session.say(f"Graph and labels are in {flags.output_graph} and {flags.output_labels}.")
    session.say(f"What it gets wrong: {folder.report}")
    if session.as_json:
        written = {
            "output_graph": str(flags.output_graph),
            "output_labels": str(flags.output_labels),
            "intermediate_graphs": [str(path) for path in heads],
        }
        print_json({**to_dict(result), **test, **written})


def _print_test(test: dict[str, Any], flags: RetrainFlags) -> None:
    accuracy, images = test["final_test_accuracy"], test["final_test_images"]
    if accuracy is None:
        say("No image was held out for testing, so there is no final test accuracy.")
        return
    echo(f"Final test accuracy = {accuracy:.1%} (N={images})")
    if flags.print_misclassified_test_images:
        echo("=== MISCLASSIFIED TEST IMAGES ===")
        for row in test["misclassified"]:
            echo(f"{flags.image_dir / row['path']!s:>70}  {row['predicted']}")
