"""``poets classify``: a few images, in this process, without broker or workers."""

import click

from cli import options
from cli.console import echo, print_json, say
from cli.styles import strong, warning
from workers.settings import Settings


@options.command("classify")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@options.model
@click.option(
    "--top-k",
    metavar="N",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Labels for each image.",
)
@options.as_json
@options.with_settings
def command(
    settings: Settings, images: tuple[str, ...], model: str | None, top_k: int, as_json: bool
) -> None:
    """Label each IMAGE and print its best labels.

    With a model that was trained for a --target-precision, a best label whose score is too
    low for that is marked `unsure`.

    \b
    Examples:
      poets classify rose.jpg
      poets classify *.jpg --model spring --top-k 1
    """
    from cli.model_choice import describe_model
    from orchestrator.models import LATEST, choose_model
    from workers.errors import DatasetError
    from workers.labelling import classify_files
    from workers.storage.layout import Storage

    chosen = choose_model(Storage(settings.storage), model or settings.model or LATEST).model
    say(*describe_model(chosen))
    folder = chosen.folder
    failed = 0
    rows = []
    for path, prediction in zip(images, classify_files(folder, list(images), top_k), strict=True):
        failed += prediction.error is not None
        if as_json:
            ranked = [{"label": label, "score": score} for label, score in prediction.ranked]
            rows.append(
                {
                    "path": prediction.path,
                    "labels": ranked,
                    "unsure": prediction.is_unsure,
                    "error": prediction.error,
                    "warning": prediction.warning,
                }
            )
            continue
        if prediction.error:
            say(f"{path}: {prediction.error}")
        elif len(images) > 1:
            echo(prediction.path)
        if prediction.warning:
            say(f"{path}: {prediction.warning}")
        for rank, (label, score) in enumerate(prediction.ranked):
            unsure = " unsure" if prediction.is_unsure and rank == 0 else ""
            name = strong(label) if rank == 0 else label
            echo([name, f" (score = {score:.5f})", warning(unsure)])
    if as_json:
        print_json(rows)
    if failed:
        raise DatasetError(f"{failed} of {len(images)} images could not be read.")
