"""The runs that this command has planned or reopened, which an interrupt leaves to be resumed.

It imports nothing, so that an interrupt in the middle of the imports can ask it too.
"""

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.storage.plan import Run

# Also those about to be planned: nothing must come between a plan and its place in here.
attended: "list[Run]" = []


def leave_runs() -> "Run | None":
    """Mark the runs that have not ended as paused, so that no coordinator takes them up.

    A detached run is left to the coordinator.

    Returns:
        The run that was begun last, whether it has ended or not.
    """
    planned = [run for run in attended if run.folder.plan.exists()]
    for run in planned:
        # What has planned a run has imported these.
        from workers.errors import StorageError
        from workers.storage.atomic import write_whole

        if not (run.folder.result.exists() or run.folder.detached.exists()):
            with contextlib.suppress(OSError, StorageError):
                write_whole(run.folder.paused, b"")
    return planned[-1] if planned else None
