"""``poets report``: the page of a run."""

import click

from cli import options
from cli.console import echo_path, print_json
from workers.settings import Settings


@options.command("report")
@click.argument("run", metavar="RUN")
@click.option("--open", "is_opened", is_flag=True, help="Open the report in the browser.")
@options.as_json
@options.with_settings
def command(settings: Settings, run: str, is_opened: bool, as_json: bool) -> None:
    """Print the path of RUN's report, or open it.

    The report is a web page with the figures and photographs of the run. It needs no server
    and no network.

    \b
    Examples:
      poets report flower_photos-1
      poets report flower_photos-1 --open
    """
    from workers.reports.page.page import complete_report
    from workers.storage.layout import Storage
    from workers.storage.making import use_storage
    from workers.storage.plan import Run

    opened = Run.open(Storage(settings.storage), run)
    if not opened.folder.report.exists():
        use_storage(settings.storage)
    path = complete_report(opened)
    if as_json:
        print_json({"run": run, "report": str(path)})
    else:
        echo_path(path)
    if is_opened:
        click.launch(str(path))
