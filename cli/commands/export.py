"""``poets export``: a model in the formats of other tools."""

from pathlib import Path
from typing import Any

import click

from cli import options
from cli.console import Session, echo, print_json
from workers.exports.formats import APP_SIZE, FORMATS


@options.command("export")
@click.argument("model", metavar="RUN|PATH|latest")
@click.option(
    "--to",
    "target",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write; it must not exist yet.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    help="Format to export; give it once for each. [all that are possible]",
)
@click.option(
    "--final-tensor-name",
    default="final_result",
    show_default=True,
    metavar="NAME",
    help="Name of the output in the frozen graph.",
)
@click.option("--force", "overwrite", is_flag=True, help="Replace an earlier export in DIR.")
@options.with_session()
def command(session: Session, **asked: Any) -> None:
    """Export the model of RUN to TensorFlow, Keras, LiteRT and ONNX.

    Each export is compared with `poets classify` first. DIR also gets a model card, and the
    files that `poets classify --model DIR` needs.

    \b
    Examples:
      poets export latest --to flowers-model
      poets export flowers-1 --to phone --format tflite --format tflite-int8
      poets export flowers-1 --to tf_files/app --format codelab-app
    """
    from orchestrator.exporting.export import ExportOptions, export_model

    with session.show_progress() as on_progress:
        result = export_model(session.settings, ExportOptions(**asked), on_progress)
    if session.as_json:
        print_json(result)
        return
    written = {report["format"] for report in result["formats"] if "reason" not in report}
    for report in result["formats"]:
        if "reason" in report:
            session.say(f"No {report['format']}: {report['reason']}.")
    height, width = result["input_size"]
    if "codelab-app" in written and (height, width) != APP_SIZE:
        session.say(
            f"The codelab's apps feed {APP_SIZE[1]} x {APP_SIZE[0]} pixels, but this model takes "
            f"{width} x {height}: change DIM_IMG_SIZE_X and _Y (Android) or wanted_input_width and "
            "_height (iOS)."
        )
    echo(f"Model {result['model']} is in {result['folder']}.")
    for report in result["formats"]:
        if "reason" not in report:
            files = ", ".join(FORMATS[report["format"]].files)
            echo(
                f"  {report['format']:15} {files:43} {report['bytes'] / 1e6:5.1f} MB  "
                f"same label {report['agreement']:.1%}, scores within {report['difference']:.1g}"
            )
